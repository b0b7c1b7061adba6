#define _GNU_SOURCE
#include "fork-limits.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t written = write(fd, text, strlen(text));
  close(fd);
  return written < 0 ? -1 : 0;
}

static int is_empty(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) return 1;
  struct dirent *entry;
  int found = 0;
  while (!found && (entry = readdir(directory)))
    found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(directory);
  return !found;
}

/* What the function's initialisation has put there is seen through, and copied when it is changed. */
static int own_tmp(int32_t mib) {
  char options[128];
  int before = is_empty("/tmp") ? -1 : open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
  snprintf(options, sizeof options, "size=%dm,mode=1777", mib);
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) return -1;
  if (before < 0) return 0;
  snprintf(options, sizeof options, "lowerdir=/proc/self/fd/%d,upperdir=/tmp/upper,workdir=/tmp/work", before);
  int failed = mkdir("/tmp/upper", 01777) != 0 || chmod("/tmp/upper", 01777) != 0 || mkdir("/tmp/work", 0700) != 0 ||
               mount("overlay", "/tmp", "overlay", MS_NOSUID | MS_NODEV, options) != 0;
  int saved = errno;
  close(before);
  errno = saved;
  return failed ? -1 : 0;
}

/*
 * A user namespace of its own allows a fork to mount, as it would allow the function's code, and the capabilities in it are gone before
 * that goes on.
 */
int own_surroundings(int32_t most, int32_t tmp_mib) {
  char map[64], directory[4096];
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (setsid() < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return -1;
  limit_processes(0, process_limit(-1, most));
  if (tmp_mib <= 0) return 0;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return -1;
  /* Linux asks for it; gVisor has no such file. */
  if (write_file("/proc/self/setgroups", "deny") != 0 && errno != ENOENT) return -1;
  snprintf(map, sizeof map, "%u %u 1", uid, uid);
  if (write_file("/proc/self/uid_map", map) != 0) return -1;
  snprintf(map, sizeof map, "%u %u 1", gid, gid);
  if (write_file("/proc/self/gid_map", map) != 0) return -1;
  if (own_tmp(tmp_mib) != 0) return -1;
  /* A working directory below /tmp is still the one of the seed. */
  if (getcwd(directory, sizeof directory) && chdir(directory) != 0) return -1;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {0};
  return (int)syscall(SYS_capset, &header, none);
}
