/*
 * Limits of the forks of one seed, for runners in any language: what a fork gets for itself, and how the seed, the first process of the
 * sandbox, holds each to the memory and the processes of one instance. gVisor has no control groups for that, and of the
 * resource limits that it enforces none counts what one fork and its children use: RLIMIT_NPROC counts all processes of the user.
 */
#ifndef FORKYARD_FORK_LIMITS_H
#define FORKYARD_FORK_LIMITS_H

#include <stdint.h>
#include <sys/types.h>

enum fork_cause { FORK_WITHIN_LIMITS = 0, FORK_OUT_OF_MEMORY = 1, FORK_TOO_MANY_PROCESSES = 2 };

struct watched_fork {
  /* 0: none. */
  int32_t pid;
  /* Most memory that it, its children and its /tmp were seen to use. */
  int32_t used_mib;
  /* Why it was killed by `watch_forks`. */
  int32_t cause;
  /* Of `watch_forks`; 0 in a new one. */
  uint32_t activity;
  int32_t of_files_kib, process_limit;
};

/*
 * Looks at every fork, kills those that are above a limit with all their children, and what ended forks left behind. `processes` counts
 * threads too. @returns milliseconds until it should be called again; -1 when there are no forks.
 */
__attribute__((visibility("default"))) int watch_forks(struct watched_fork *forks, int count, int32_t memory_mib,
                                                       int32_t processes);

/* In the seed, before its first fork: what they leave behind becomes the seed's. @returns MiB that each fork begins with */
__attribute__((visibility("default"))) int32_t begin_watch(void);

/*
 * In a fork, when it is given work: while all were idle, the seed looks seldom. It gets a SIGCHLD then, and is to look at once when
 * `watch_woken`. Elsewhere nothing happens.
 */
__attribute__((visibility("default"))) void wake_watch(void);
__attribute__((visibility("default"))) int watch_woken(void);

/*
 * In a new fork, before it goes on: a session, the descendants that lose their parent, a number of processes, and a /tmp of `tmp_mib`
 * over what the seed has in it, which stays as it is for the others. Keeps no privilege. @returns 0, or -1 with errno
 */
__attribute__((visibility("default"))) int own_surroundings(int32_t processes, int32_t tmp_mib);

/*
 * Between the two sources. The kernel counts the processes of the user, those of other forks included: as many as these have (`others`;
 * -1: all that were last seen) are added. It holds up a fork bomb until the watch has seen it; whoever wants to can lift it,
 * and is seen all the same.
 */
int32_t process_limit(int32_t others, int32_t most);
void limit_processes(pid_t pid, int32_t limit);

#endif
