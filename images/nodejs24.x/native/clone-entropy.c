/*
 * Reseeds OpenSSL's generators of this process, which a clone has in common with every other clone of its checkpoint. Node.js
 * offers no call for that. The symbols are those of the OpenSSL inside the node executable.
 *
 * reseed(bytes): fresh randomness from the kernel, and `bytes` (from the host; may be empty) mixed in. The primary generator
 * is reseeded at once; those of each thread notice that and follow before their next output. Throws when the kernel gave none.
 */
#define NAPI_VERSION 8
#include <node_api.h>

extern int RAND_poll(void);
extern void RAND_seed(const void *bytes, int length);

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

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "reseed", NAPI_AUTO_LENGTH, reseed, NULL, &function);
  napi_set_named_property(env, exports, "reseed", function);
  return exports;
}
