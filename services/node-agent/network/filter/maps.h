/* The filter's maps. Those that the agent writes have their records in layout.h, the others are the filter's own. */
#ifndef FORKYARD_NETWORK_MAPS_H
#define FORKYARD_NETWORK_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

#define SECOND 1000000000ULL

struct refusal_key {
  struct flow_key flow;
  __u8 direction, kind, reason, unused;
};

struct bucket {
  struct bpf_spin_lock lock;
  __u32 unused;
  __u64 tokens, at;
};

#define MAP(name, kind, flags, entries, key_type, value_type)                                                                  \
  struct {                                                                                                                     \
    __uint(type, BPF_MAP_TYPE_##kind);                                                                                         \
    __uint(map_flags, flags);                                                                                                  \
    __uint(max_entries, entries);                                                                                              \
    __type(key, key_type);                                                                                                     \
    __type(value, value_type);                                                                                                 \
  } name SEC(".maps")

MAP(slots, HASH, 0, 4096, __u32, struct slot);
MAP(rules, LPM_TRIE, BPF_F_NO_PREALLOC, 1 << 20, struct rule_key, struct rule_value);
MAP(ports, LPM_TRIE, BPF_F_NO_PREALLOC, 1 << 20, struct port_key, __u32);
MAP(pins, HASH, BPF_F_NO_PREALLOC, 1 << 16, struct pin_key, struct pin_value);
MAP(guarded, LPM_TRIE, BPF_F_NO_PREALLOC, 1024, struct guard_key, struct guard_value);
MAP(settings, ARRAY, 0, 1, __u32, struct settings);
MAP(counts, ARRAY, 0, COUNTS, __u32, __u64);
MAP(buckets, HASH, 0, BUCKET_KINDS * 4096, struct bucket_key, struct bucket);
MAP(refusals, LRU_HASH, 0, 1 << 14, struct refusal_key, __u64);

/* A table for each slot, by its interface: no sandbox has another one's flows forgotten. The agent makes them with the slots. */
struct flow_table {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, FLOWS_OF_SLOT);
  __uint(key_size, sizeof(struct flow_key));
  __uint(value_size, sizeof(struct flow));
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, 4096);
  __type(key, __u32);
  __array(values, struct flow_table);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4 << 20);
} events SEC(".maps");

#endif
