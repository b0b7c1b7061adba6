/*
 * Records that the filter and the agent share. `../map-encoding.ts` writes and reads the same bytes: a change here is a change there.
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d. Ports and addresses are in network order, all other numbers in the machine's.
 */
#ifndef FORKYARD_NETWORK_LAYOUT_H
#define FORKYARD_NETWORK_LAYOUT_H

#include <linux/types.h>

/* Seen from the sandbox. */
enum direction { EGRESS = 1, INGRESS = 2 };
enum family { V4 = 4, V6 = 6 };
enum rule_verdict { ALLOW = 1, DENY = 2 };
/* NEVER: no rule opens it. EXACT: only a rule that names this one address does. */
enum guard_kind { NEVER = 1, EXACT = 2 };

enum event_kind { ALLOWED = 1, DENIED = 2, REVOKED = 3, SPOOFED = 4, LIMITED = 5, MALFORMED = 6 };
/* Why an event is not ALLOWED. */
enum reason { BY_DEFAULT = 1, BY_RULE = 2, GUARDED = 3, PROTOCOL = 4, FRAGMENT = 5, RATE = 6, SOURCE = 7, NO_POLICY = 8 };

struct address {
  __u8 bytes[16];
} __attribute__((aligned(4)));

/* Map `slots`, by the index of the slot's interface on the host. No entry, or lease 0: nothing passes. */
struct slot {
  /* A new number for each sandbox that gets the slot: flows of the one before are never its own. */
  __u32 lease;
  /* Number of a compiled policy; a new one with each change. 0: nothing passes. */
  __u32 policy;
  struct address v4, v6;
  __u8 mac[6];
  __u8 unused[2];
  /* 0: no limit. Bytes count for each direction. */
  __u64 bytes_per_second, burst_bytes;
  __u32 flows_per_second;
  __u32 unused2;
};

/* Map `rules`: the longest prefix of the remote address leads to everything that is said about it, wider prefixes included. */
struct rule_key {
  __u32 bits;
  __u32 policy;
  __u8 direction, family, unused[2];
  struct address remote;
};
#define RULE_KEY_BITS 192

struct rule_value {
  /* Sets of ports; 0: none. `exact` holds what rules for this one address say. */
  __u32 set, exact;
};

/* Map `ports`: disjoint ranges as prefixes. What is in none of them is denied by default. */
struct port_key {
  __u32 bits;
  __u32 set;
  __u8 protocol, unused;
  __be16 port;
};
#define PORT_KEY_BITS 64

/* Map `pins`: addresses that the resolver has answered with. */
struct pin_key {
  __u32 policy;
  struct address remote;
};

struct pin_value {
  __u32 set, unused;
  /* bpf_ktime_get_ns */
  __u64 until;
};

/* Map `guarded`. */
struct guard_key {
  __u32 bits;
  __u8 family, unused[3];
  struct address remote;
};
#define GUARD_KEY_BITS 160
#define GUARD_PORTS 6

struct guard_value {
  __u32 kind;
  /* Ports of the platform that no rule opens, whatever `kind` is; 0 ends the list. */
  __be16 ports[GUARD_PORTS];
};

/* Map `settings`, one entry. */
struct settings {
  struct address resolver4, resolver6;
};

/* Map `events`. */
struct event {
  __u64 at;
  __u32 lease, policy;
  __u8 kind, direction, protocol, reason;
  __be16 local_port, remote_port;
  struct address remote;
  __u32 ifindex;
  __u8 family, unused[3];
};

/* Map `counts`. */
enum count { LOST_EVENTS, LINK_LAYER, COUNTS };

/* Map `buckets`. TOLD: events, of which no sandbox may make so many that those of others are lost. */
enum bucket_kind { EGRESS_BYTES = 1, INGRESS_BYTES = 2, NEW_FLOWS = 3, TOLD = 4 };
#define BUCKET_KINDS 4

struct bucket_key {
  __u32 ifindex, kind;
};

/* Map `flows`, of a slot. It holds first fragments too, under keys that no flow has. */
struct flow_key {
  __u32 lease;
  __u8 protocol, family;
  /* Of a fragment: its direction; else 0. */
  __u8 fragment_of, unused;
  /* Of an echo: its identifier, and 0. Of a fragment: its number. */
  __be16 local_port, remote_port;
  struct address remote;
};

struct flow {
  __u64 until;
  __u32 policy;
  /* Who began it. */
  __u8 direction;
  __u8 closing;
  __u8 unused[2];
};

/* The least recently used are forgotten. */
#define FLOWS_OF_SLOT 4096

#endif
