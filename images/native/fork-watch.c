#define _GNU_SOURCE
#include "fork-limits.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAX_PROCESSES 4096
/*
 * While a fork works; while none has done so for a moment; for longer. A fork can take memory for so long before it is seen, but one that
 * pulls a request wakes the sleeping watch.
 */
#define BUSY_MS 20
#define IDLE_MS 100
#define ASLEEP_MS 2000
#define LOOKS_BEFORE_SLEEP 20
/* A fork bomb has new processes by the time that the old ones are killed. */
#define KILL_ROUNDS 20
/* Processes that a fork may have beyond its limit before it is seen. */
#define SLACK 16

struct process {
  pid_t pid, parent;
  long rss_kib;
  int threads;
  unsigned long ticks;
  char name[20];
  /* Index of its fork; -1: not known yet, or none. */
  int fork;
};

static struct process processes[MAX_PROCESSES];
static int process_count;
/* Of all of them. */
static int thread_count;
static pid_t seed;
/* Shared by the seed and its forks: nobody looks soon. And the seed's own idea of it. */
static volatile unsigned char *asleep;
static int sleeping;

static int read_stat(const char *pid, struct process *process) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return -1;
  text[length] = 0;
  char *name = strchr(text, '('), *after = strrchr(text, ')'), state;
  unsigned long user, kernel;
  long pages;
  if (!name || !after ||
      sscanf(after + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %d %*d %*u %*u %ld", &state,
             &process->parent, &user, &kernel, &process->threads, &pages) != 6 ||
      state == 'Z' || state == 'X')
    return -1;
  *after = 0;
  snprintf(process->name, sizeof process->name, "%.19s", name + 1);
  process->pid = (pid_t)atoi(text);
  process->ticks = user + kernel;
  process->rss_kib = pages * (sysconf(_SC_PAGESIZE) / 1024);
  process->fork = -1;
  return 0;
}

static const struct process *find(pid_t pid) {
  for (int i = 0; i < process_count; i++)
    if (processes[i].pid == pid) return &processes[i];
  return NULL;
}

/* A process that ended belongs to nobody any more: its children are the fork's, which adopts them, or the seed's. */
static int fork_of(const struct process *process, const struct watched_fork *forks, int count) {
  for (int depth = 0; process && depth < MAX_PROCESSES; depth++) {
    if (process->fork >= 0) return process->fork;
    for (int i = 0; i < count; i++)
      if (forks[i].pid == process->pid) return i;
    process = find(process->parent);
  }
  return -1;
}

/* @returns processes killed: those that no fork owns. */
static int take_stock(const struct watched_fork *forks, int count) {
  DIR *proc = opendir("/proc");
  if (!proc) return 0;
  process_count = 0;
  struct dirent *entry;
  while (process_count < MAX_PROCESSES && (entry = readdir(proc)))
    if (isdigit((unsigned char)entry->d_name[0]) && read_stat(entry->d_name, &processes[process_count]) == 0)
      process_count++;
  closedir(proc);
  int killed = 0;
  pid_t self = getpid();
  thread_count = 0;
  for (int i = 0; i < process_count; i++) {
    thread_count += processes[i].threads;
    processes[i].fork = fork_of(&processes[i], forks, count);
    if (processes[i].fork >= 0 || processes[i].parent != self) continue;
    kill(processes[i].pid, SIGKILL);
    killed++;
  }
  return killed;
}

/* Without the pages of files, which the kernel outside can take back. gVisor counts what is shared with the seed as its own. */
static long own_kib(const struct process *process) {
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/%d/smaps", process->pid);
  FILE *file = fopen(path, "re");
  if (!file) return process->rss_kib;
  long sum = 0, kib;
  int of_file = 0;
  while (fgets(line, sizeof line, file)) {
    if (islower((unsigned char)line[0]) || isdigit((unsigned char)line[0])) {
      char *name = strchr(line, '/');
      of_file = name && strncmp(name, "/dev/zero", 9) != 0 && strncmp(name, "/memfd:", 7) != 0;
    } else if (sscanf(line, of_file ? "Anonymous: %ld" : "Rss: %ld", &kib) == 1)
      sum += kib;
  }
  fclose(file);
  return sum;
}

static long tmp_kib(pid_t pid) {
  char path[64];
  struct stat of_fork, of_seed;
  struct statvfs size;
  snprintf(path, sizeof path, "/proc/%d/root/tmp", pid);
  if (stat(path, &of_fork) != 0 || stat("/tmp", &of_seed) != 0 || of_fork.st_dev == of_seed.st_dev) return 0;
  return statvfs(path, &size) == 0 ? (long)((size.f_blocks - size.f_bfree) * (size.f_frsize / 1024)) : 0;
}

/* A child that is still a copy of the fork shares most of its pages with it. */
static long tree_kib(int index, pid_t pid, long (*memory_of)(const struct process *)) {
  const struct process *root = find(pid);
  if (!root) return 0;
  long of_root = memory_of(root), sum = of_root;
  for (int i = 0; i < process_count; i++) {
    const struct process *process = &processes[i];
    if (process->fork != index || process == root) continue;
    long kib = memory_of(process);
    int is_copy = strcmp(process->name, root->name) == 0;
    sum += !is_copy ? kib : kib > of_root ? kib - of_root : 0;
  }
  return sum;
}

static long rss_kib(const struct process *process) { return process->rss_kib; }

static void kill_tree(int index) {
  for (int i = 0; i < process_count; i++)
    if (processes[i].fork == index) kill(processes[i].pid, SIGKILL);
}

int32_t process_limit(int32_t others, int32_t most) { return (others < 0 ? thread_count : others) + most + SLACK; }

void limit_processes(pid_t pid, int32_t limit) {
  struct rlimit now;
  if (prlimit(pid, RLIMIT_NPROC, NULL, &now) != 0) return;
  now.rlim_cur = (rlim_t)limit < now.rlim_max ? (rlim_t)limit : now.rlim_max;
  prlimit(pid, RLIMIT_NPROC, &now, NULL);
}

static void limit_tree(struct watched_fork *fork, int index, int32_t limit) {
  if (abs(limit - fork->process_limit) < SLACK / 2) return;
  fork->process_limit = limit;
  for (int i = 0; i < process_count; i++)
    if (processes[i].fork == index) limit_processes(processes[i].pid, limit);
}

/* What is resident grows with the pages of files too; a closer look, which takes longer, is needed for a new peak only. */
static long memory_kib_of(struct watched_fork *fork, int index) {
  long resident = tree_kib(index, fork->pid, rss_kib), own = resident - fork->of_files_kib;
  long in_tmp = tmp_kib(fork->pid);
  if (own + in_tmp > fork->used_mib * 1024L) {
    own = tree_kib(index, fork->pid, own_kib);
    fork->of_files_kib = (int32_t)(resident - own);
  }
  return own + in_tmp;
}

/* @returns whether it did something since it was last looked at. */
static int look_at(struct watched_fork *fork, int index, long memory_kib, int32_t most) {
  unsigned long ticks = 0;
  int threads = 0;
  for (int i = 0; i < process_count; i++) {
    if (processes[i].fork != index) continue;
    ticks += processes[i].ticks;
    threads += processes[i].threads;
  }
  if (threads > most) {
    fork->cause = FORK_TOO_MANY_PROCESSES;
    return 1;
  }
  limit_tree(fork, index, process_limit(thread_count - threads, most));
  long kib = memory_kib_of(fork, index);
  int32_t mib = (int32_t)((kib + 1023) / 1024);
  if (mib > fork->used_mib) fork->used_mib = mib;
  if (kib > memory_kib) fork->cause = FORK_OUT_OF_MEMORY;
  uint32_t activity = (uint32_t)(ticks + (unsigned long)kib);
  int active = activity != fork->activity;
  fork->activity = activity;
  return active;
}

static int next_look_ms(int active) {
  static int idle_looks;
  idle_looks = active ? 0 : idle_looks + 1;
  sleeping = idle_looks > LOOKS_BEFORE_SLEEP;
  if (asleep) *asleep = (unsigned char)sleeping;
  if (sleeping) return ASLEEP_MS;
  return idle_looks == 0 ? BUSY_MS : IDLE_MS;
}

int watch_forks(struct watched_fork *forks, int count, int32_t memory_mib, int32_t most) {
  int any = 0, active = 0;
  for (int round = 0; round < KILL_ROUNDS; round++) {
    int killed = take_stock(forks, count);
    for (int i = 0; i < count; i++) {
      if (forks[i].pid == 0 || !find(forks[i].pid)) continue;
      any = 1;
      /* What a killed one was seen to use is the evidence. */
      if (forks[i].cause == FORK_WITHIN_LIMITS) active |= look_at(&forks[i], i, (long)memory_mib * 1024, most);
      if (forks[i].cause == FORK_WITHIN_LIMITS) continue;
      kill_tree(i);
      killed++;
    }
    if (killed == 0) break;
    active = 1;
  }
  return any || active ? next_look_ms(active) : -1;
}

int watch_woken(void) { return sleeping && asleep && !*asleep; }

void wake_watch(void) {
  if (!asleep || !*asleep) return;
  *asleep = 0;
  kill(seed, SIGCHLD);
}

int32_t begin_watch(void) {
  struct process self;
  void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  asleep = page == MAP_FAILED ? NULL : page;
  seed = getpid();
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  return read_stat("self", &self) == 0 ? (int32_t)((own_kib(&self) + 1023) / 1024) : 0;
}
