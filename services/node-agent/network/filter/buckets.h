/* Token buckets: what a slot may have of something in a second. */
#ifndef FORKYARD_NETWORK_BUCKETS_H
#define FORKYARD_NETWORK_BUCKETS_H

#include "maps.h"

/* 0: there is not enough left, and nothing was taken. */
static __always_inline int take(__u32 ifindex, __u32 kind, __u64 amount, __u64 per_second, __u64 burst) {
  struct bucket_key key = {.ifindex = ifindex, .kind = kind};
  struct bucket *bucket = bpf_map_lookup_elem(&buckets, &key);
  if (!bucket) return 0;
  __u64 now = bpf_ktime_get_ns();
  int enough = 0;
  bpf_spin_lock(&bucket->lock);
  __u64 passed = now - bucket->at;
  /* A second fills every bucket; without the bound the product could overflow. */
  __u64 tokens = passed >= SECOND ? burst : bucket->tokens + per_second * (passed / 1000) / 1000000;
  if (tokens > burst) tokens = burst;
  if (tokens >= amount) {
    tokens -= amount;
    enough = 1;
  }
  bucket->tokens = tokens;
  bucket->at = now;
  bpf_spin_unlock(&bucket->lock);
  return enough;
}

#endif
