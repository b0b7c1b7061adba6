/*
 * Preloaded into seeds only: V8 excludes its heap from forks (MADV_DONTFORK), since Node.js never means to go on in the child. A seed's
 * children do.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int madvise(void *address, size_t length, int advice) {
  if (advice == MADV_DONTFORK) return 0;
  return (int)syscall(SYS_madvise, address, length, advice);
}
