/*
 * What the runner needs from the node executable and JavaScript cannot reach. The symbols are those of the OpenSSL and the V8 in that
 * executable, whose version the lock file pins; one that is missing fails the load, and so the image's first boot.
 *
 * reseed(bytes): OpenSSL's generators of this process, which a clone has in common with every other clone of its checkpoint, get
 * fresh randomness from the kernel, and `bytes` (from the host; may be empty) mixed in. The primary generator is reseeded at
 * once; those of each thread notice that and follow before their next output. Throws when the kernel gave none.
 *
 * watchDraws(on): counts what is drawn from OpenSSL's generators by this process, and passes it on unchanged. draws(): how often that was
 * so since it was last turned on.
 *
 * limitHeap(bytes, all), once: how far V8 lets the old generation grow before it collects as hard as it can. The command line sets
 * it before it is known whose memory this will be; V8 lowers it in a running isolate only when a callback for nearly full heaps
 * is taken away. `all` is the function's memory: a forked child whose heap alone would need more ends by itself.
 *
 * serveForks(directory, hello, memoryMiB, processes, tmpMiB), in a seed, blocks: see below.
 * wakeWatch(), in its forks: wake_watch of fork-limits.h. exitNow(status): _exit.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "../../native/fork-limits.h"
#include "../../native/unix-socket.h"
#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

/* Deprecated in OpenSSL 3, and still asked before its own generators. */
struct rand_method {
  int (*seed)(const void *bytes, int length);
  int (*bytes)(unsigned char *bytes, int length);
  void (*cleanup)(void);
  int (*add)(const void *bytes, int length, double entropy);
  int (*pseudorand)(unsigned char *bytes, int length);
  int (*status)(void);
};
extern struct rand_method *RAND_OpenSSL(void);
extern int RAND_set_rand_method(const struct rand_method *method);

static struct rand_method counting_method;
/* Threads of libuv's pool draw too. */
static _Atomic uint32_t draw_count;

static int counted_bytes(unsigned char *bytes, int length) {
  draw_count++;
  return RAND_OpenSSL()->bytes(bytes, length);
}

static napi_value watch_draws(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument;
  bool on = false;
  napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
  if (argc != 1 || napi_get_value_bool(env, argument, &on) != napi_ok) {
    napi_throw_type_error(env, NULL, "watchDraws takes a boolean");
    return NULL;
  }
  counting_method = *RAND_OpenSSL();
  counting_method.bytes = counted_bytes;
  counting_method.pseudorand = counted_bytes;
  if (on) draw_count = 0;
  if (RAND_set_rand_method(on ? &counting_method : NULL) != 1)
    napi_throw_error(env, NULL, "OpenSSL's generators cannot be watched");
  return NULL;
}

static napi_value get_draws(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result;
  napi_create_uint32(env, draw_count, &result);
  return result;
}

/* Of a forked child: where it leaves word, in memory shared with its seed, that it ended for lack of memory. */
static volatile unsigned char *out_of_memory_mark;
static size_t all_memory;

/*
 * V8 calls it when a full collection did not free enough. It may have more: whether the function is out of memory is for the
 * control group to say, whose evidence the caller is shown. A forked child shares its control group with its siblings, so it ends
 * alone before its heap takes what is theirs.
 */
static size_t allow_more(void *data, size_t current, size_t initial) {
  (void)data;
  (void)initial;
  size_t more = current + current / 2;
  if (!out_of_memory_mark || more <= all_memory) return more;
  if (current < all_memory) return all_memory;
  *out_of_memory_mark = 1;
  static const char message[] = "the heap needs more than the function's memory\n";
  if (write(2, message, sizeof message - 1) < 0) _exit(134);
  _exit(134);
}

static napi_value limit_heap(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  int64_t bytes, all;
  if (argc != 2 || napi_get_value_int64(env, argv[0], &bytes) != napi_ok || bytes <= 0 ||
      napi_get_value_int64(env, argv[1], &all) != napi_ok || all < bytes) {
    napi_throw_type_error(env, NULL, "limitHeap takes two numbers of bytes, the lower first");
    return NULL;
  }
  all_memory = (size_t)all;
  void *isolate = current_isolate();
  add_near_limit(isolate, allow_more, NULL);
  remove_near_limit(isolate, allow_more, (size_t)bytes);
  add_near_limit(isolate, allow_more, NULL);
  return NULL;
}

static napi_value wake(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  wake_watch();
  return NULL;
}

static napi_value exit_now(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument;
  int32_t status = 0;
  napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
  if (argc == 1) napi_get_value_int32(env, argument, &status);
  _exit(status);
}

/*
 * The seed. It blocks in `serveForks` and runs no JavaScript any more, so what its children are copies of never changes. Over a
 * connection to `<directory>/seed.sock`, one message a line:
 *
 *   seed -> node   the hello, as given
 *   node -> seed   fork ID ENTROPY      seed -> node   forked ID PID | failed ID ERRNO
 *   node -> seed   kill ID              seed -> node   ended ID WAIT_STATUS CAUSE (enum fork_cause)
 *                                       seed -> node   used ID MIB, when it is more than before
 *
 * `serveForks` returns in each child, with [ID, ENTROPY], and in the seed when the node closed the connection. A child is in a
 * session of its own; its standard output and error are connections to `<directory>/ID.log`, in this order. What each may use, and
 * what becomes of those it leaves behind: fork-limits.h.
 */
#define MAX_CHILDREN 64
#define ID_BYTES 32
#define LINE_BYTES 256
/* After a fork; fork-limits.h says when to look again. */
#define FIRST_LOOK_MS 20

extern int uv_loop_fork(void *loop);

static struct watched_fork children[MAX_CHILDREN];
static char ids[MAX_CHILDREN][ID_BYTES + 1];
/* What the node was told. */
static int32_t told_mib[MAX_CHILDREN];
static unsigned char *marks;
static int32_t fresh_mib, memory_mib, most_processes, tmp_mib;

static int connect_in(const char *directory, const char *name) {
  char path[128];
  if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  return connect_unix(path);
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Whichever thread of the seed gets the signal: idle ones of libuv's pool may still be there. */
static int child_event = -1;

static void on_child_signal(int number) {
  (void)number;
  int saved = errno;
  uint64_t one = 1;
  ssize_t written = write(child_event, &one, sizeof one);
  (void)written;
  errno = saved;
}

/* @returns 1 when something had ended */
static int reap(int channel) {
  int status, reaped = 0;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    reaped = 1;
    for (int i = 0; i < MAX_CHILDREN; i++) {
      if (children[i].pid != pid) continue;
      char line[LINE_BYTES];
      int cause = marks[i] ? FORK_OUT_OF_MEMORY : children[i].cause;
      int length = snprintf(line, sizeof line, "ended %s %d %d\n", ids[i], status, cause);
      children[i].pid = 0;
      if (send_all(channel, line, (size_t)length) != 0) return -1;
    }
  }
  return reaped;
}

/* @returns milliseconds to wait for a message, -1 without end; -2 when the node is gone */
static int watch(int channel) {
  int wait = watch_forks(children, MAX_CHILDREN, memory_mib, most_processes);
  for (int i = 0; i < MAX_CHILDREN; i++) {
    if (children[i].pid == 0 || children[i].used_mib <= told_mib[i]) continue;
    char line[LINE_BYTES];
    told_mib[i] = children[i].used_mib;
    int length = snprintf(line, sizeof line, "used %s %d\n", ids[i], told_mib[i]);
    if (send_all(channel, line, (size_t)length) != 0) return -2;
  }
  return wait;
}

/* In the child: standard output and error of its own. */
static int own_output(const char *directory, const char *id) {
  char name[ID_BYTES + 8];
  snprintf(name, sizeof name, "%s.log", id);
  for (int target = 1; target <= 2; target++) {
    int fd = connect_in(directory, name);
    if (fd < 0 || dup2(fd, target) < 0) return -1;
    close(fd);
  }
  return 0;
}

/* @returns 1 in the child */
static int make_child(int channel, const char *id) {
  char line[LINE_BYTES];
  int slot = 0;
  while (slot < MAX_CHILDREN && children[slot].pid != 0) slot++;
  pid_t pid = -1;
  errno = EAGAIN;
  if (slot < MAX_CHILDREN) {
    marks[slot] = 0;
    pid = fork();
  }
  if (pid == 0) {
    out_of_memory_mark = &marks[slot];
    memset(children, 0, sizeof children);
    return 1;
  }
  if (pid > 0) {
    children[slot] = (struct watched_fork){.pid = pid};
    told_mib[slot] = fresh_mib;
    strcpy(ids[slot], id);
  }
  int length = pid > 0 ? snprintf(line, sizeof line, "forked %s %d\nused %s %d\n", id, pid, id, fresh_mib)
                       : snprintf(line, sizeof line, "failed %s %d\n", id, errno);
  return send_all(channel, line, (size_t)length) == 0 ? 0 : -1;
}

static napi_value serve_forks(napi_env env, napi_callback_info info) {
  size_t argc = 5, length;
  napi_value argv[5];
  char directory[100], hello[4096];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 5 || napi_get_value_string_utf8(env, argv[0], directory, sizeof directory, &length) != napi_ok ||
      napi_get_value_string_utf8(env, argv[1], hello, sizeof hello, &length) != napi_ok ||
      napi_get_value_int32(env, argv[2], &memory_mib) != napi_ok ||
      napi_get_value_int32(env, argv[3], &most_processes) != napi_ok ||
      napi_get_value_int32(env, argv[4], &tmp_mib) != napi_ok) {
    napi_throw_type_error(env, NULL, "serveForks takes a directory, a line and three limits");
    return NULL;
  }
  void *loop;
  napi_get_uv_event_loop(env, (struct uv_loop_s **)&loop);
  int channel = connect_in(directory, "seed.sock");
  child_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  marks = mmap(NULL, MAX_CHILDREN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (channel < 0 || marks == MAP_FAILED || child_event < 0 || send_all(channel, hello, length) != 0) {
    napi_throw_error(env, NULL, strerror(errno));
    return NULL;
  }
  fresh_mib = begin_watch();
  struct sigaction action = {.sa_handler = on_child_signal, .sa_flags = SA_RESTART}, earlier;
  sigaction(SIGCHLD, &action, &earlier);

  char buffer[4096];
  size_t filled = 0;
  char id[ID_BYTES + 1], entropy[129];
  /* When to look at the children; -1: there are none. */
  int64_t due_ms = -1;
  for (;;) {
    int reaped = reap(channel);
    if (reaped < 0) break;
    int64_t now = now_ms();
    /* What an ended one left is to go at once. */
    if (reaped || watch_woken() || (due_ms >= 0 && now >= due_ms)) {
      int next_ms = watch(channel);
      if (next_ms == -2) break;
      due_ms = next_ms < 0 ? -1 : now + next_ms;
    }
    struct pollfd waits[] = {{.fd = channel, .events = POLLIN}, {.fd = child_event, .events = POLLIN}};
    if (poll(waits, 2, due_ms < 0 ? -1 : due_ms > now ? (int)(due_ms - now) : 0) <= 0) continue;
    uint64_t ended;
    if (waits[1].revents && read(child_event, &ended, sizeof ended) < 0 && errno != EAGAIN) break;
    if (!waits[0].revents) continue;
    ssize_t received = recv(channel, buffer + filled, sizeof buffer - filled, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) break;
    filled += (size_t)received;
    char *end;
    while ((end = memchr(buffer, '\n', filled))) {
      *end = 0;
      int outcome = 0;
      if (sscanf(buffer, "fork %32[0-9a-f] %128[0-9a-f]", id, entropy) == 2) {
        outcome = make_child(channel, id);
        if (due_ms < 0) due_ms = now + FIRST_LOOK_MS;
      } else if (sscanf(buffer, "kill %32[0-9a-f]", id) == 1)
        for (int i = 0; i < MAX_CHILDREN; i++)
          if (children[i].pid > 0 && strcmp(ids[i], id) == 0) kill(children[i].pid, SIGKILL);
      if (outcome < 0) goto over;
      if (outcome == 1) {
        sigaction(SIGCHLD, &earlier, NULL);
        close(channel);
        close(child_event);
        if (own_surroundings(most_processes, tmp_mib) != 0 || own_output(directory, id) != 0 || uv_loop_fork(loop) != 0)
          _exit(71);
        napi_value result, value;
        napi_create_array_with_length(env, 2, &result);
        napi_create_string_utf8(env, id, NAPI_AUTO_LENGTH, &value);
        napi_set_element(env, result, 0, value);
        napi_create_string_utf8(env, entropy, NAPI_AUTO_LENGTH, &value);
        napi_set_element(env, result, 1, value);
        return result;
      }
      filled -= (size_t)(end + 1 - buffer);
      memmove(buffer, end + 1, filled);
    }
    if (filled == sizeof buffer) break;
  }
over:
  sigaction(SIGCHLD, &earlier, NULL);
  close(channel);
  close(child_event);
  return NULL;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "reseed", NAPI_AUTO_LENGTH, reseed, NULL, &function);
  napi_set_named_property(env, exports, "reseed", function);
  napi_create_function(env, "watchDraws", NAPI_AUTO_LENGTH, watch_draws, NULL, &function);
  napi_set_named_property(env, exports, "watchDraws", function);
  napi_create_function(env, "draws", NAPI_AUTO_LENGTH, get_draws, NULL, &function);
  napi_set_named_property(env, exports, "draws", function);
  napi_create_function(env, "limitHeap", NAPI_AUTO_LENGTH, limit_heap, NULL, &function);
  napi_set_named_property(env, exports, "limitHeap", function);
  napi_create_function(env, "wakeWatch", NAPI_AUTO_LENGTH, wake, NULL, &function);
  napi_set_named_property(env, exports, "wakeWatch", function);
  napi_create_function(env, "exitNow", NAPI_AUTO_LENGTH, exit_now, NULL, &function);
  napi_set_named_property(env, exports, "exitNow", function);
  napi_create_function(env, "serveForks", NAPI_AUTO_LENGTH, serve_forks, NULL, &function);
  napi_set_named_property(env, exports, "serveForks", function);
  return exports;
}
