/*
 * What the agent needs for the network of sandboxes: network namespaces and packet sockets in them, and bpf(2) on maps that are pinned. A
 * process for each (`ip netns`, `bpftool map`) would cost more than the start that waits for it. Errors are thrown as in host-calls.c.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "host-calls.h"
#include "../network/filter/layout.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_PATH 512
/* As runsc asks for: the standard size loses packets under load. */
#define PACKET_BUFFER (4 << 20)

struct in_namespace {
  char path[MAX_PATH], interface[IFNAMSIZ];
  int fd, error;
  const char *step;
};

static void *failed(struct in_namespace *job, const char *step) {
  job->error = errno;
  job->step = step;
  if (job->fd >= 0) close(job->fd);
  job->fd = -1;
  return NULL;
}

/* A namespace belongs to a thread: it is changed in one that ends with that. */
static int on_own_thread(void *(*work)(void *), struct in_namespace *job) {
  pthread_t thread;
  job->fd = -1;
  int error = pthread_create(&thread, NULL, work, job);
  if (error) {
    job->error = error;
    job->step = "pthread_create";
    return -1;
  }
  pthread_join(thread, NULL);
  return job->error ? -1 : 0;
}

static void *make_namespace(void *argument) {
  struct in_namespace *job = argument;
  job->fd = open(job->path, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
  if (job->fd < 0) return failed(job, "open");
  if (unshare(CLONE_NEWNET)) return failed(job, "unshare");
  if (mount("/proc/thread-self/ns/net", job->path, NULL, MS_BIND, NULL)) return failed(job, "mount");
  close(job->fd);
  return NULL;
}

static void write_setting(const char *path, const char *value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, value, strlen(value)) < 0) errno = 0;
  close(fd);
}

static void *open_packet_socket(void *argument) {
  struct in_namespace *job = argument;
  int space = open(job->path, O_RDONLY | O_CLOEXEC);
  if (space < 0) return failed(job, "open");
  int entered = setns(space, CLONE_NEWNET);
  close(space);
  if (entered) return failed(job, "setns");
  /* The kernel's own stack is no party here: the sandbox's is. */
  write_setting("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
  job->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (job->fd < 0) return failed(job, "socket");
  struct ifreq request = {0};
  memcpy(request.ifr_name, job->interface, IFNAMSIZ);
  if (ioctl(job->fd, SIOCGIFFLAGS, &request)) return failed(job, "SIOCGIFFLAGS");
  request.ifr_flags |= IFF_UP;
  if (ioctl(job->fd, SIOCSIFFLAGS, &request)) return failed(job, "SIOCSIFFLAGS");
  if (ioctl(job->fd, SIOCGIFINDEX, &request)) return failed(job, "SIOCGIFINDEX");
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = request.ifr_ifindex};
  if (bind(job->fd, (struct sockaddr *)&address, sizeof address)) return failed(job, "bind");
  int on = 1, bytes = PACKET_BUFFER;
  if (setsockopt(job->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on)) return failed(job, "PACKET_VNET_HDR");
  if (setsockopt(job->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) ||
      setsockopt(job->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes))
    return failed(job, "SO_RCVBUFFORCE");
  return NULL;
}

static int text(napi_env env, napi_value value, char *to, size_t size) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= size) {
    errno = ENAMETOOLONG;
    return -1;
  }
  napi_get_value_string_utf8(env, value, to, size, &length);
  return 0;
}

static napi_value fd_value(napi_env env, int fd) {
  napi_value value;
  napi_create_int32(env, fd, &value);
  return value;
}

/* makeNetns(path): a new network namespace, kept by a mount on the file `path`. Unmounting it lets it go. */
static napi_value make_netns(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct in_namespace job = {0};
  if (argc != 1 || text(env, argv[0], job.path, sizeof job.path)) return host_call_failed(env, "makeNetns(path)");
  if (on_own_thread(make_namespace, &job) == 0) return NULL;
  errno = job.error;
  return host_call_failed(env, job.step);
}

/* packetSocket(netns, interface): brings the interface up; a raw packet socket bound to it, with virtio headers, as gVisor wants it. */
static napi_value packet_socket(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct in_namespace job = {0};
  if (argc != 2 || text(env, argv[0], job.path, sizeof job.path) ||
      text(env, argv[1], job.interface, sizeof job.interface))
    return host_call_failed(env, "packetSocket(netns, interface)");
  if (on_own_thread(open_packet_socket, &job) == 0) return fd_value(env, job.fd);
  errno = job.error;
  return host_call_failed(env, job.step);
}

static long bpf(enum bpf_cmd command, union bpf_attr *attributes) {
  return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

/* bpfOpen(path): descriptor of a pinned map. The caller closes it. */
static napi_value bpf_open(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  char path[MAX_PATH];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 1 || text(env, argv[0], path, sizeof path)) return host_call_failed(env, "bpfOpen(path)");
  union bpf_attr attributes = {.pathname = (uintptr_t)path};
  long fd = bpf(BPF_OBJ_GET, &attributes);
  return fd < 0 ? host_call_failed(env, "BPF_OBJ_GET") : fd_value(env, (int)fd);
}

struct bytes {
  uint8_t *data;
  size_t length;
};

static int buffer(napi_env env, napi_value value, struct bytes *to) {
  if (napi_get_buffer_info(env, value, (void **)&to->data, &to->length) == napi_ok) return 0;
  errno = EINVAL;
  return -1;
}

/* bpfUpdate(fd, count, keys, values): `count` entries, one after the other in both buffers. */
static napi_value bpf_update(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value argv[4];
  int fd;
  uint32_t count;
  struct bytes keys, values;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 4 || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
      napi_get_value_uint32(env, argv[1], &count) != napi_ok || buffer(env, argv[2], &keys) ||
      buffer(env, argv[3], &values) || (count && (keys.length % count || values.length % count))) {
    errno = EINVAL;
    return host_call_failed(env, "bpfUpdate");
  }
  for (uint32_t i = 0; i < count; i++) {
    union bpf_attr attributes = {.map_fd = (uint32_t)fd,
                                 .key = (uintptr_t)(keys.data + i * (keys.length / count)),
                                 .value = (uintptr_t)(values.data + i * (values.length / count)),
                                 .flags = BPF_ANY};
    if (bpf(BPF_MAP_UPDATE_ELEM, &attributes)) return host_call_failed(env, "BPF_MAP_UPDATE_ELEM");
  }
  return NULL;
}

/* addFlowTable(fd, ifindex): a slot's own table of flows, in the pinned map of tables. It goes when its entry is deleted. */
static napi_value add_flow_table(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2];
  int fd;
  uint32_t ifindex;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 2 || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
      napi_get_value_uint32(env, argv[1], &ifindex) != napi_ok) {
    errno = EINVAL;
    return host_call_failed(env, "addFlowTable");
  }
  union bpf_attr table = {.map_type = BPF_MAP_TYPE_LRU_HASH,
                          .key_size = sizeof(struct flow_key),
                          .value_size = sizeof(struct flow),
                          .max_entries = FLOWS_OF_SLOT};
  int made = (int)bpf(BPF_MAP_CREATE, &table);
  if (made < 0) return host_call_failed(env, "BPF_MAP_CREATE");
  uint32_t value = (uint32_t)made;
  union bpf_attr entry = {.map_fd = (uint32_t)fd, .key = (uintptr_t)&ifindex, .value = (uintptr_t)&value, .flags = BPF_ANY};
  long result = bpf(BPF_MAP_UPDATE_ELEM, &entry);
  int error = errno;
  close(made);
  errno = error;
  return result ? host_call_failed(env, "BPF_MAP_UPDATE_ELEM") : NULL;
}

/* bpfDelete(fd, count, keys): what is not there does not matter. */
static napi_value bpf_delete(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value argv[3];
  int fd;
  uint32_t count;
  struct bytes keys;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 3 || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
      napi_get_value_uint32(env, argv[1], &count) != napi_ok || buffer(env, argv[2], &keys) ||
      (count && keys.length % count)) {
    errno = EINVAL;
    return host_call_failed(env, "bpfDelete");
  }
  for (uint32_t i = 0; i < count; i++) {
    union bpf_attr attributes = {.map_fd = (uint32_t)fd, .key = (uintptr_t)(keys.data + i * (keys.length / count))};
    if (bpf(BPF_MAP_DELETE_ELEM, &attributes) && errno != ENOENT) return host_call_failed(env, "BPF_MAP_DELETE_ELEM");
  }
  return NULL;
}

/* bpfLookup(fd, key, value): fills `value`; false when there is no entry. */
static napi_value bpf_lookup(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value argv[3], found;
  int fd;
  struct bytes key, value;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 3 || napi_get_value_int32(env, argv[0], &fd) != napi_ok || buffer(env, argv[1], &key) ||
      buffer(env, argv[2], &value)) {
    errno = EINVAL;
    return host_call_failed(env, "bpfLookup");
  }
  union bpf_attr attributes = {.map_fd = (uint32_t)fd, .key = (uintptr_t)key.data, .value = (uintptr_t)value.data};
  long result = bpf(BPF_MAP_LOOKUP_ELEM, &attributes);
  if (result && errno != ENOENT) return host_call_failed(env, "BPF_MAP_LOOKUP_ELEM");
  napi_get_boolean(env, result == 0, &found);
  return found;
}

/* A ring buffer of the kernel: one page with the consumer's position, one with the producer's, then the data, mapped twice. */
struct ring {
  volatile uint64_t *consumed;
  const volatile uint64_t *produced;
  const uint8_t *data;
  size_t size, page;
};

static void unmap_ring(struct ring *ring) {
  if (ring->consumed) munmap((void *)ring->consumed, ring->page);
  if (ring->produced) munmap((void *)ring->produced, ring->page + 2 * ring->size);
  free(ring);
}

static void forget_ring(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  unmap_ring(data);
}

/* ringOpen(fd, bytes): `bytes` as the map was made. The descriptor may be closed after this. */
static napi_value ring_open(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2], value;
  int fd;
  uint32_t size;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct ring *ring = calloc(1, sizeof *ring);
  if (!ring || argc != 2 || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
      napi_get_value_uint32(env, argv[1], &size) != napi_ok) {
    free(ring);
    errno = EINVAL;
    return host_call_failed(env, "ringOpen");
  }
  ring->size = size;
  ring->page = (size_t)sysconf(_SC_PAGESIZE);
  void *consumer = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (consumer != MAP_FAILED) ring->consumed = consumer;
  void *producer = mmap(NULL, ring->page + 2 * ring->size, PROT_READ, MAP_SHARED, fd, (off_t)ring->page);
  if (producer != MAP_FAILED) ring->produced = producer;
  if (!ring->consumed || !ring->produced) {
    unmap_ring(ring);
    return host_call_failed(env, "mmap of the ring buffer");
  }
  ring->data = (const uint8_t *)producer + ring->page;
  napi_create_external(env, ring, forget_ring, NULL, &value);
  return value;
}

/* ringRead(ring, into): moves whole records into the buffer, all of the size `into.length / n`; returns how many bytes. */
static napi_value ring_read(napi_env env, napi_callback_info info) {
  size_t argc = 2, written = 0;
  napi_value argv[2], value;
  struct ring *ring;
  struct bytes into;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 2 || napi_get_value_external(env, argv[0], (void **)&ring) != napi_ok || buffer(env, argv[1], &into)) {
    errno = EINVAL;
    return host_call_failed(env, "ringRead");
  }
  uint64_t at = *ring->consumed, end = __atomic_load_n(ring->produced, __ATOMIC_ACQUIRE);
  while (at < end) {
    const uint8_t *record = ring->data + (at & (ring->size - 1));
    uint32_t header = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
    if (header & BPF_RINGBUF_BUSY_BIT) break;
    uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
      if (written + length > into.length) break;
      memcpy(into.data + written, record + BPF_RINGBUF_HDR_SZ, length);
      written += length;
    }
    at += (length + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
    __atomic_store_n(ring->consumed, at, __ATOMIC_RELEASE);
  }
  napi_create_uint32(env, (uint32_t)written, &value);
  return value;
}

void add_network_calls(napi_env env, napi_value exports) {
  const struct {
    const char *name;
    napi_callback call;
  } calls[] = {{"makeNetns", make_netns},        {"packetSocket", packet_socket}, {"bpfOpen", bpf_open},
               {"addFlowTable", add_flow_table}, {"bpfUpdate", bpf_update},       {"bpfDelete", bpf_delete},
               {"bpfLookup", bpf_lookup},        {"ringOpen", ring_open},         {"ringRead", ring_read},
               {"loadFilter", load_filter}};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    napi_value function;
    napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, calls[i].call, NULL, &function);
    napi_set_named_property(env, exports, calls[i].name, function);
  }
}
