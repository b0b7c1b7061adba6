/*
 * What the node agent needs from the kernel and Node.js does not offer: a pipe whose ends are plain file descriptors (child_process
 * makes socket pairs), a Unix socket message that carries descriptors (SCM_RIGHTS: how gVisor's control socket takes code images
 * and checkpoint files), and a child process that begins its life inside control groups, without a shell to join them, and without
 * a copy of the agent's page tables (Node.js forks: some milliseconds in which the agent stands still).
 *
 * All but `run` is synchronous and local; nothing waits for the other side. Errors are thrown as JavaScript errors whose
 * `code` is the errno and whose message names the call.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "host-calls.h"
#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FILES 16
#define MAX_STRINGS 64

napi_value host_call_failed(napi_env env, const char *call) {
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
  if (pipe2(ends, O_CLOEXEC) != 0) return host_call_failed(env, "pipe2");
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
    return host_call_failed(env, "connectAndSend(socketPath)");
  }
  napi_get_value_string_utf8(env, argv[0], address.sun_path, sizeof address.sun_path, &path_length);
  void *message;
  size_t message_length;
  if (napi_get_buffer_info(env, argv[1], &message, &message_length) != napi_ok || message_length == 0) {
    errno = EINVAL;
    return host_call_failed(env, "connectAndSend(message)");
  }
  uint32_t count = 0;
  int fds[MAX_FILES];
  if (napi_get_array_length(env, argv[2], &count) != napi_ok || count > MAX_FILES) {
    errno = EINVAL;
    return host_call_failed(env, "connectAndSend(fds)");
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    napi_get_element(env, argv[2], i, &element);
    if (napi_get_value_int32(env, element, &fds[i]) != napi_ok) {
      errno = EINVAL;
      return host_call_failed(env, "connectAndSend(fds)");
    }
  }

  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return host_call_failed(env, "socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    return host_call_failed(env, "connect");
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
      return host_call_failed(env, "sendmsg");
    }
    sent += (size_t)written;
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  napi_value result;
  napi_create_int32(env, fd, &result);
  return result;
}

/*
 * run(argv, joinFiles, stdout, stderr): Promise<wait status>. The child has an empty environment and /dev/null as input; it writes
 * "0" to each of `joinFiles` before it becomes argv[0]. Rejects when one of that fails. A thread of libuv's pool waits for it.
 */
struct run {
  napi_async_work work;
  napi_deferred deferred;
  char **argv, **join_files;
  int out, err;
  int status;
  /* Of the step that failed; the child shares this memory until it has become another program. */
  volatile int error;
  const char *volatile step;
};

static void free_strings(char **strings) {
  for (char **each = strings; each && *each; each++) free(*each);
  free(strings);
}

static void free_run(struct run *run) {
  free_strings(run->argv);
  free_strings(run->join_files);
  free(run);
}

static char **copy_strings(napi_env env, napi_value array) {
  uint32_t count;
  if (napi_get_array_length(env, array, &count) != napi_ok || count > MAX_STRINGS) return NULL;
  char **strings = calloc(count + 1, sizeof *strings);
  for (uint32_t i = 0; strings && i < count; i++) {
    napi_value element;
    size_t length;
    if (napi_get_element(env, array, i, &element) != napi_ok ||
        napi_get_value_string_utf8(env, element, NULL, 0, &length) != napi_ok ||
        !(strings[i] = malloc(length + 1))) {
      free_strings(strings);
      return NULL;
    }
    napi_get_value_string_utf8(env, element, strings[i], length + 1, &length);
  }
  return strings;
}

/* Only calls that are safe between vfork and exec. */
static void become(struct run *run, const sigset_t *mask) {
  struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int number = 1; number < 32; number++) sigaction(number, &standard, NULL);
  sigprocmask(SIG_SETMASK, mask, NULL);
  for (char **file = run->join_files; *file; file++) {
    int fd = open(*file, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1) {
      run->error = errno;
      run->step = "joining a control group";
      _exit(127);
    }
    close(fd);
  }
  int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (in >= 0 && dup2(in, 0) == 0 && dup2(run->out, 1) == 1 && dup2(run->err, 2) == 2) {
    /* A descriptor that was there already keeps its flags. */
    for (int fd = 0; fd <= 2; fd++) fcntl(fd, F_SETFD, 0);
    char *empty[] = {NULL};
    execve(run->argv[0], run->argv, empty);
  }
  run->error = errno;
  run->step = "starting the program";
  _exit(127);
}

static void run_child(napi_env env, void *data) {
  (void)env;
  struct run *run = data;
  sigset_t all, mask;
  sigfillset(&all);
  /* No handler of the agent may run in the child, which has the agent's memory. */
  pthread_sigmask(SIG_SETMASK, &all, &mask);
  pid_t pid = vfork();
  if (pid == 0) become(run, &mask);
  int saved = errno;
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  if (pid < 0) {
    run->error = saved;
    run->step = "vfork";
    return;
  }
  while (waitpid(pid, &run->status, 0) < 0 && errno == EINTR) continue;
}

void host_call_settle(napi_env env, napi_deferred deferred, napi_value value, const char *failed, int error) {
  if (!failed) {
    napi_resolve_deferred(env, deferred, value);
    return;
  }
  char message[256];
  snprintf(message, sizeof message, "%s: %s", failed, strerror(error));
  napi_value text, problem;
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text);
  napi_create_error(env, NULL, text, &problem);
  napi_reject_deferred(env, deferred, problem);
}

static void ran(napi_env env, napi_status status, void *data) {
  struct run *run = data;
  napi_value value;
  napi_create_int32(env, run->status, &value);
  const char *failed = status == napi_ok && !run->error ? NULL : run->step ? run->step : "run";
  host_call_settle(env, run->deferred, value, failed, run->error);
  napi_delete_async_work(env, run->work);
  free_run(run);
}

static napi_value run_program(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value argv[4], promise, name;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct run *run = calloc(1, sizeof *run);
  if (!run || argc != 4 || !(run->argv = copy_strings(env, argv[0])) || !run->argv[0] ||
      !(run->join_files = copy_strings(env, argv[1])) || napi_get_value_int32(env, argv[2], &run->out) != napi_ok ||
      napi_get_value_int32(env, argv[3], &run->err) != napi_ok) {
    if (run) free_run(run);
    errno = EINVAL;
    return host_call_failed(env, "run");
  }
  napi_create_promise(env, &run->deferred, &promise);
  napi_create_string_utf8(env, "forkyard:run", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, NULL, name, run_child, ran, run, &run->work);
  napi_queue_async_work(env, run->work);
  return promise;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "pipe", NAPI_AUTO_LENGTH, make_pipe, NULL, &function);
  napi_set_named_property(env, exports, "pipe", function);
  napi_create_function(env, "connectAndSend", NAPI_AUTO_LENGTH, connect_and_send, NULL, &function);
  napi_set_named_property(env, exports, "connectAndSend", function);
  napi_create_function(env, "run", NAPI_AUTO_LENGTH, run_program, NULL, &function);
  napi_set_named_property(env, exports, "run", function);
  add_network_calls(env, exports);
  add_trace_calls(env, exports);
  return exports;
}
