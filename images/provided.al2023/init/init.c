/*
 * First process of a provided.al2023 sandbox. Waits where it can be saved, is given a function over the instance's Unix socket,
 * and runs the function's `bootstrap` with the Runtime API on a loopback port, which it forwards to that socket (forwarder.c;
 * docs/decisions/0022). Ends when the bootstrap ends, with its status.
 */
#define _GNU_SOURCE
#include "forwarder.h"
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MARK "forkyard: ready to be saved\n"
/* What a runtime sent just before its end still reaches the node. */
#define FLUSH_MS 500

extern char **environ;

static void die(const char *call) {
  fprintf(stderr, "forkyard: %s: %s\n", call, strerror(errno));
  exit(1);
}

/* Which checkpoint is waited for is fixed by opening the file, so before the mark (images/checkpoint/save.ts waits for it). */
static void wait_for_restore(void) {
  char result[16] = "";
  int fd = open("/proc/gvisor/checkpoint", O_RDONLY | O_CLOEXEC);
  if (fd < 0) die("open /proc/gvisor/checkpoint");
  if (write(STDOUT_FILENO, READY_MARK, sizeof READY_MARK - 1) < 0) die("write");
  ssize_t length;
  do length = read(fd, result, sizeof result - 1);
  while (length < 0 && errno == EINTR);
  if (length < 0) die("read /proc/gvisor/checkpoint");
  close(fd);
  if (strncmp(result, "restore", 7) != 0) {
    fprintf(stderr, "forkyard: the checkpoint ended with: %s", result);
    exit(1);
  }
}

/* The function's environment, and nothing else but HOME and the address of the Runtime API. */
static void apply_environment(char *block, size_t length, int port) {
  char home[256], api[32];
  snprintf(home, sizeof home, "%s", getenv("HOME") ? getenv("HOME") : "/tmp");
  clearenv();
  setenv("HOME", home, 1);
  for (char *entry = block; entry < block + length; entry += strlen(entry) + 1) putenv(entry);
  snprintf(api, sizeof api, "127.0.0.1:%d", port);
  setenv("AWS_LAMBDA_RUNTIME_API", api, 1);
}

/* Starts the bootstrap. Returns its pid; -1 with errno when it cannot be executed. */
static pid_t start_bootstrap(const char *directory, const char *path) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) die("pipe2");
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (chdir(directory) == 0) {
      char *const argv[] = {(char *)path, NULL};
      execve(path, argv, environ);
    }
    int failure = errno;
    if (write(report[1], &failure, sizeof failure) < 0) _exit(126);
    _exit(127);
  }
  close(report[1]);
  int failure = 0;
  ssize_t length;
  do length = read(report[0], &failure, sizeof failure);
  while (length < 0 && errno == EINTR);
  close(report[0]);
  if (length <= 0) return pid;
  waitpid(pid, NULL, 0);
  errno = failure;
  return -1;
}

static void report_not_started(const char *socket_path, const char *path) {
  int failure = errno;
  char message[1280];
  if (failure == ENOENT && access(path, F_OK) != 0)
    snprintf(message, sizeof message, "Couldn't find valid bootstrap(s): [%s]", path);
  else
    snprintf(message, sizeof message, "fork/exec %s: %s", path, strerror(failure));
  fprintf(stderr, "forkyard: %s\n", message);
  node_init_failed(socket_path, "Runtime.InvalidEntrypoint", message);
}

static void report_early_exit(const char *socket_path, int status) {
  char message[128];
  if (WIFSIGNALED(status))
    snprintf(message, sizeof message, "Error: Runtime exited with error: signal: %s", strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status) != 0)
    snprintf(message, sizeof message, "Error: Runtime exited with error: exit status %d", WEXITSTATUS(status));
  else
    snprintf(message, sizeof message, "Error: Runtime exited without providing a reason");
  node_init_failed(socket_path, "Runtime.ExitError", message);
}

/* Reaps every child; true when the bootstrap is among them. */
static int reap(pid_t bootstrap, int *status) {
  int ended = 0, one;
  pid_t pid;
  while ((pid = waitpid(-1, &one, WNOHANG)) > 0)
    if (pid == bootstrap) {
      ended = 1;
      *status = one;
    }
  return ended;
}

int main(void) {
  /* Both are set only where this program is tested outside of a sandbox. */
  const char *socket_path = strdup(getenv("FORKYARD_API_SOCKET") ? getenv("FORKYARD_API_SOCKET") : "/run/forkyard/api.sock");
  int wanted_port = getenv("FORKYARD_API_PORT") ? atoi(getenv("FORKYARD_API_PORT")) : 9001;
  if (getenv("FORKYARD_CHECKPOINT") && strcmp(getenv("FORKYARD_CHECKPOINT"), "runtime") == 0) wait_for_restore();

  signal(SIGPIPE, SIG_IGN);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  int children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (children < 0) die("signalfd");

  size_t length;
  char *block = node_assignment(socket_path, &length);
  if (!block) die("assignment");
  int port = forwarder_listen(wanted_port, socket_path);
  if (port < 0) die("listen");
  apply_environment(block, length, port);

  const char *directory = getenv("LAMBDA_TASK_ROOT") ? getenv("LAMBDA_TASK_ROOT") : "/var/task";
  char path[1024];
  snprintf(path, sizeof path, "%s/bootstrap", directory);
  pid_t bootstrap = start_bootstrap(directory, path);
  if (bootstrap < 0) {
    report_not_started(socket_path, path);
    return 1;
  }
  int status = 0;
  for (;;) {
    if (forwarder_turn(children, -1) == 0) continue;
    struct signalfd_siginfo info;
    while (read(children, &info, sizeof info) > 0) continue;
    if (reap(bootstrap, &status)) break;
  }
  forwarder_flush(FLUSH_MS);
  if (!forwarder_saw_next()) report_early_exit(socket_path, status);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
