/*
 * Loads the eBPF filter. The kernel's verifier looks at every way through it, for a good part of a second: that is a thread's to wait for, as
 * is every wait.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "host-calls.h"
#include <errno.h>
/* Made of network/filter by build.ts: bytes of the program, and how to load them without a library. */
#include <filter.lskel.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_DIRECTORY 512

struct loading {
  napi_async_work work;
  napi_deferred deferred;
  char directory[MAX_DIRECTORY];
  int error;
  const char *step;
};

static int pin(int fd, const char *directory, const char *name) {
  char path[MAX_DIRECTORY + 64];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  union bpf_attr attributes = {.pathname = (uintptr_t)path, .bpf_fd = (uint32_t)fd};
  return syscall(SYS_bpf, BPF_OBJ_PIN, &attributes, sizeof attributes) ? -1 : 0;
}

static void load(napi_env env, void *data) {
  (void)env;
  struct loading *loading = data;
  struct filter *filter = filter__open_and_load();
  if (!filter) {
    loading->error = errno;
    loading->step = "loading the filter";
    return;
  }
  const struct {
    const char *name;
    int fd;
  } pinned[] = {
      {"slots", filter->maps.slots.map_fd},     {"rules", filter->maps.rules.map_fd},
      {"ports", filter->maps.ports.map_fd},     {"pins", filter->maps.pins.map_fd},
      {"guarded", filter->maps.guarded.map_fd}, {"settings", filter->maps.settings.map_fd},
      {"buckets", filter->maps.buckets.map_fd}, {"counts", filter->maps.counts.map_fd},
      {"flows", filter->maps.flows.map_fd},     {"events", filter->maps.events.map_fd},
      {"from_sandbox", filter->progs.from_sandbox.prog_fd},
      {"to_sandbox", filter->progs.to_sandbox.prog_fd},
  };
  loading->step = "BPF_OBJ_PIN";
  for (size_t i = 0; !loading->error && i < sizeof pinned / sizeof *pinned; i++)
    if (pin(pinned[i].fd, loading->directory, pinned[i].name)) loading->error = errno;
  filter__destroy(filter);
}

static void loaded(napi_env env, napi_status status, void *data) {
  struct loading *loading = data;
  napi_value value;
  napi_get_undefined(env, &value);
  const char *failed = status == napi_ok && !loading->error ? NULL : loading->step ? loading->step : "loadFilter";
  host_call_settle(env, loading->deferred, value, failed, loading->error);
  napi_delete_async_work(env, loading->work);
  free(loading);
}

/*
 * loadFilter(directory): Promise. Loads the filter that was compiled with the addon, and pins maps and programs by their names in the directory,
 * of a bpf file system. Nothing else keeps them.
 */
napi_value load_filter(napi_env env, napi_callback_info info) {
  size_t argc = 1, length = 0;
  napi_value argv[1], promise, name;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct loading *loading = calloc(1, sizeof *loading);
  if (!loading || argc != 1 || napi_get_value_string_utf8(env, argv[0], NULL, 0, &length) != napi_ok ||
      length >= sizeof loading->directory) {
    free(loading);
    errno = EINVAL;
    return host_call_failed(env, "loadFilter(directory)");
  }
  napi_get_value_string_utf8(env, argv[0], loading->directory, sizeof loading->directory, &length);
  napi_create_promise(env, &loading->deferred, &promise);
  napi_create_string_utf8(env, "forkyard:loadFilter", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, NULL, name, load, loaded, loading, &loading->work);
  napi_queue_async_work(env, loading->work);
  return promise;
}
