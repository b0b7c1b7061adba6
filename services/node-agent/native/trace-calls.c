/*
 * What sandboxes' kernels tell of system calls: a pair of sockets for each, of which the kernel's end is given away, and one place where all
 * others are read. Messages keep their bounds, so what one sandbox writes never mixes with another one's. Nothing here waits.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "host-calls.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_READY 64
/* Of one sandbox in one reading: what is over waits in its socket, and when that is full so does whoever writes. */
#define MESSAGES_OF_ONE 128
#define SEND_BUFFER (1 << 20)
#define MAX_MESSAGE 4096

static napi_value int_value(napi_env env, int number) {
  napi_value value;
  napi_create_int32(env, number, &value);
  return value;
}

/* traceOpen(): where the sockets are read. The caller closes it. */
static napi_value trace_open(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? host_call_failed(env, "epoll_create1") : int_value(env, fd);
}

/* tracePair(place): [ours, theirs]; ours is read at the place until the caller closes it. The caller closes both. */
static napi_value trace_pair(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1], result;
  int place, ends[2], bytes = SEND_BUFFER;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 1 || napi_get_value_int32(env, argv[0], &place) != napi_ok) {
    errno = EINVAL;
    return host_call_failed(env, "tracePair");
  }
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) return host_call_failed(env, "socketpair");
  struct epoll_event event = {.events = EPOLLIN, .data.fd = ends[0]};
  if (setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) ||
      epoll_ctl(place, EPOLL_CTL_ADD, ends[0], &event)) {
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    errno = error;
    return host_call_failed(env, "tracePair");
  }
  napi_create_array_with_length(env, 2, &result);
  for (uint32_t at = 0; at < 2; at++) napi_set_element(env, result, at, int_value(env, ends[at]));
  return result;
}

/* Messages of one socket, each behind its descriptor and its length. Length 0: the other end is closed. 0 when there is no more room. */
static int read_one(int fd, uint8_t *into, size_t length, size_t *written) {
  for (int count = 0; count < MESSAGES_OF_ONE; count++) {
    if (length - *written < 8 + MAX_MESSAGE) return 0;
    ssize_t got = recv(fd, into + *written + 8, MAX_MESSAGE, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return 1;
    uint32_t head[2] = {(uint32_t)fd, got > 0 ? (uint32_t)got : 0};
    memcpy(into + *written, head, sizeof head);
    *written += sizeof head + head[1];
    if (got <= 0) return 1;
  }
  return 1;
}

/* traceRead(place, into): moves whole messages into the buffer; returns how many bytes. */
static napi_value trace_read(napi_env env, napi_callback_info info) {
  size_t argc = 2, length = 0, written = 0;
  napi_value argv[2], value;
  int place;
  void *into;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc != 2 || napi_get_value_int32(env, argv[0], &place) != napi_ok ||
      napi_get_buffer_info(env, argv[1], &into, &length) != napi_ok) {
    errno = EINVAL;
    return host_call_failed(env, "traceRead");
  }
  struct epoll_event ready[MAX_READY];
  int count = epoll_wait(place, ready, MAX_READY, 0);
  if (count < 0 && errno != EINTR) return host_call_failed(env, "epoll_wait");
  for (int at = 0; at < count; at++)
    if (!read_one(ready[at].data.fd, into, length, &written)) break;
  napi_create_uint32(env, (uint32_t)written, &value);
  return value;
}

void add_trace_calls(napi_env env, napi_value exports) {
  const struct {
    const char *name;
    napi_callback call;
  } calls[] = {{"traceOpen", trace_open}, {"tracePair", trace_pair}, {"traceRead", trace_read}};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    napi_value function;
    napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, calls[i].call, NULL, &function);
    napi_set_named_property(env, exports, calls[i].name, function);
  }
}
