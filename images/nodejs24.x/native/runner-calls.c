/*
 * What the runner needs from the node executable and JavaScript cannot reach. The symbols are those of the OpenSSL and the V8 in that
 * executable, whose version the lock file pins; one that is missing fails the load, and so the image's first boot.
 *
 * reseed(bytes): OpenSSL's generators of this process, which a clone has in common with every other clone of its checkpoint, get
 * fresh randomness from the kernel, and `bytes` (from the host; may be empty) mixed in. The primary generator is reseeded at
 * once; those of each thread notice that and follow before their next output. Throws when the kernel gave none.
 *
 * limitHeap(bytes), once: how far V8 lets the old generation grow before it collects as hard as it can. The command line sets it
 * before it is known whose memory this will be; V8 lowers it in a running isolate only when a callback for nearly full heaps
 * is taken away.
 */
#define NAPI_VERSION 8
#include <node_api.h>

extern int RAND_poll(void);
extern void RAND_seed(const void *bytes, int length);

typedef size_t (*near_limit_callback)(void *data, size_t current, size_t initial);

/* Member functions of v8::Isolate take the isolate as their first argument in the C++ ABI of this platform. */
extern void *current_isolate(void) __asm__("_ZN2v87Isolate10GetCurrentEv");
extern void add_near_limit(void *isolate, near_limit_callback callback, void *data)
    __asm__("_ZN2v87Isolate24AddNearHeapLimitCallbackEPFmPvmmES1_");
extern void remove_near_limit(void *isolate, near_limit_callback callback, size_t limit)
    __asm__("_ZN2v87Isolate27RemoveNearHeapLimitCallbackEPFmPvmmEm");

static napi_value reseed(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument;
  napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
  void *bytes;
  size_t length;
  if (argc != 1 || napi_get_buffer_info(env, argument, &bytes, &length) != napi_ok || length > 4096) {
    napi_throw_type_error(env, NULL, "reseed takes one Buffer of at most 4096 bytes");
    return NULL;
  }
  if (RAND_poll() != 1) {
    napi_throw_error(env, NULL, "the kernel gave OpenSSL no randomness");
    return NULL;
  }
  if (length > 0) RAND_seed(bytes, (int)length);
  return NULL;
}

/*
 * V8 calls it when a full collection did not free enough. It may have more: whether the function is out of memory is for the
 * control group to say, whose evidence the caller is shown.
 */
static size_t allow_more(void *data, size_t current, size_t initial) {
  (void)data;
  (void)initial;
  return current + current / 2;
}

static napi_value limit_heap(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument;
  napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
  int64_t bytes;
  if (argc != 1 || napi_get_value_int64(env, argument, &bytes) != napi_ok || bytes <= 0) {
    napi_throw_type_error(env, NULL, "limitHeap takes a number of bytes");
    return NULL;
  }
  void *isolate = current_isolate();
  add_near_limit(isolate, allow_more, NULL);
  remove_near_limit(isolate, allow_more, (size_t)bytes);
  add_near_limit(isolate, allow_more, NULL);
  return NULL;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "reseed", NAPI_AUTO_LENGTH, reseed, NULL, &function);
  napi_set_named_property(env, exports, "reseed", function);
  napi_create_function(env, "limitHeap", NAPI_AUTO_LENGTH, limit_heap, NULL, &function);
  napi_set_named_property(env, exports, "limitHeap", function);
  return exports;
}
