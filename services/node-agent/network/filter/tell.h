/* What the agent hears of: events, and counts of what is in none. */
#ifndef FORKYARD_NETWORK_TELL_H
#define FORKYARD_NETWORK_TELL_H

#include <linux/pkt_cls.h>
#include "buckets.h"
#include "packet.h"

/* The same refusal is told once in this time. */
#define TELL_AGAIN (5 * SECOND)
/* Of one slot. The ring holds more than seven times that, and is read forty times a second. */
#define TOLD_PER_SECOND 10000

static __always_inline void count(__u32 which) {
  __u64 *value = bpf_map_lookup_elem(&counts, &which);
  if (value) __sync_fetch_and_add(value, 1);
}

/* 0: it could not be told, and that was counted. */
static __always_inline int tell(const struct slot *slot, const struct packet *packet, __u32 ifindex, __u8 kind, __u8 reason) {
  struct event *event = 0;
  if (take(ifindex, TOLD, 1, TOLD_PER_SECOND, TOLD_PER_SECOND)) event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
  if (!event) {
    count(LOST_EVENTS);
    return 0;
  }
  __builtin_memset(event, 0, sizeof *event);
  event->at = bpf_ktime_get_ns();
  event->lease = slot->lease;
  event->policy = slot->policy;
  event->kind = kind;
  event->reason = reason;
  event->direction = packet->direction;
  event->protocol = packet->flow.protocol;
  event->family = packet->flow.family;
  event->local_port = packet->flow.local_port;
  event->remote_port = packet->flow.remote_port;
  event->remote = packet->flow.remote;
  event->ifindex = ifindex;
  bpf_ringbuf_submit(event, 0);
  return 1;
}

/* Drops, and tells it unless it was told a moment ago. */
static __always_inline int refuse(const struct slot *slot, const struct packet *packet, __u32 ifindex, __u8 kind, __u8 reason) {
  struct refusal_key key = {.flow = packet->flow, .direction = packet->direction, .kind = kind, .reason = reason};
  __u64 now = bpf_ktime_get_ns();
  __u64 *told = bpf_map_lookup_elem(&refusals, &key);
  if (!told || now - *told > TELL_AGAIN) {
    bpf_map_update_elem(&refusals, &key, &now, BPF_ANY);
    tell(slot, packet, ifindex, kind, reason);
  }
  return TC_ACT_SHOT;
}

#endif
