/*
 * The two things that the node agent needs from the kernel and Node.js does not offer: a pipe whose ends are plain file
 * descriptors (child_process makes socket pairs), and a Unix socket message that carries descriptors (SCM_RIGHTS: how gVisor's
 * control socket takes code images and checkpoint files).
 *
 * Everything here is synchronous and local; nothing waits for the other side. Errors are thrown as JavaScript errors whose
 * `code` is the errno and whose message names the call.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_FILES 16

static napi_value fail(napi_env env, const char *call) {
  char message[256];
  snprintf(message, sizeof message, "%s: %s", call, strerror(errno));
  char code[16];
  snprintf(code, sizeof code, "%d", errno);
  napi_throw_error(env, code, message);
  return NULL;
}

/* pipe(): [readFd, writeFd], both close-on-exec. The caller closes both. */
static napi_value make_pipe(napi_env env, napi_callback_info info) {
  (void)info;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(env, "pipe2");
  /* Node.js reads the read end through its event loop; the sandbox's end must stay blocking. */
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  napi_value result, value;
  napi_create_array_with_length(env, 2, &result);
  for (uint32_t i = 0; i < 2; i++) {
    napi_create_int32(env, ends[i], &value);
    napi_set_element(env, result, i, value);
  }
  return result;
}

/*
 * connectAndSend(socketPath, message, fds): connects a stream socket, sends `message` with `fds` attached to its first byte,
 * and returns the connected descriptor (non-blocking, close-on-exec), which the caller reads and closes. `fds` stay the
 * caller's.
 */
static napi_value connect_and_send(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value argv[3];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t path_length = 0;
  if (argc != 3 || napi_get_value_string_utf8(env, argv[0], NULL, 0, &path_length) != napi_ok ||
      path_length >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return fail(env, "connectAndSend(socketPath)");
  }
  napi_get_value_string_utf8(env, argv[0], address.sun_path, sizeof address.sun_path, &path_length);
  void *message;
  size_t message_length;
  if (napi_get_buffer_info(env, argv[1], &message, &message_length) != napi_ok || message_length == 0) {
    errno = EINVAL;
    return fail(env, "connectAndSend(message)");
  }
  uint32_t count = 0;
  int fds[MAX_FILES];
  if (napi_get_array_length(env, argv[2], &count) != napi_ok || count > MAX_FILES) {
    errno = EINVAL;
    return fail(env, "connectAndSend(fds)");
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    napi_get_element(env, argv[2], i, &element);
    if (napi_get_value_int32(env, element, &fds[i]) != napi_ok) {
      errno = EINVAL;
      return fail(env, "connectAndSend(fds)");
    }
  }

  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(env, "socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    return fail(env, "connect");
  }
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof fds)];
  } control;
  memset(&control, 0, sizeof control);
  size_t sent = 0;
  while (sent < message_length) {
    struct iovec part = {.iov_base = (char *)message + sent, .iov_len = message_length - sent};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (sent == 0 && count > 0) {
      header.msg_control = control.space;
      header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
      struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
      memcpy(CMSG_DATA(rights), fds, sizeof(int) * count);
    }
    ssize_t written = sendmsg(fd, &header, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      int saved = errno;
      close(fd);
      errno = saved;
      return fail(env, "sendmsg");
    }
    sent += (size_t)written;
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  napi_value result;
  napi_create_int32(env, fd, &result);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "pipe", NAPI_AUTO_LENGTH, make_pipe, NULL, &function);
  napi_set_named_property(env, exports, "pipe", function);
  napi_create_function(env, "connectAndSend", NAPI_AUTO_LENGTH, connect_and_send, NULL, &function);
  napi_set_named_property(env, exports, "connectAndSend", function);
  return exports;
}
