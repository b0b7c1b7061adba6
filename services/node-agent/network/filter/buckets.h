/* Token buckets: what a slot may have of something in a second. */
#ifndef FORKYARD_NETWORK_BUCKETS_H
#define FORKYARD_NETWORK_BUCKETS_H

#include "maps.h"

/* 0: there is not enough left, and nothing was taken. `per_second` is not 0. */
static __always_inline int take(__u32 ifindex, __u32 kind, __u64 amount, __u64 per_second, __u64 burst) {
  struct bucket_key key = {.ifindex = ifindex, .kind = kind};
  struct bucket *bucket = bpf_map_lookup_elem(&buckets, &key);
  if (!bucket) return 0;
  __u64 now = bpf_ktime_get_ns();
  int enough = 0;
  bpf_spin_lock(&bucket->lock);
  /* Another processor may have looked at its clock later, and been here before. */
  __u64 passed = now > bucket->at ? now - bucket->at : 0;
  __u64 tokens = burst;
  /* A second fills every bucket; without the bound the product could overflow. */
  if (passed < SECOND) {
    __u64 gained = per_second * (passed / 1000) / 1000000;
    tokens = bucket->tokens + gained;
    /* The time of what is less than one token is not lost, however often somebody asks. */
    bucket->at += gained * 1000000 / per_second * 1000;
  } else {
    bucket->at = now;
  }
  if (tokens > burst) tokens = burst;
  if (tokens >= amount) {
    tokens -= amount;
    enough = 1;
  }
  bucket->tokens = tokens;
  bpf_spin_unlock(&bucket->lock);
  return enough;
}

#endif
