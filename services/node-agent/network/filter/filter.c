/*
 * What passes between a sandbox and everything else. Attached with tc to the host's end of a slot's veth pair, in both directions, before
 * that is up: `from_sandbox` sees what the sandbox sends, `to_sandbox` what it is sent.
 *
 * A packet of a known flow costs one hash look-up. A new flow is looked up by address, then by port (both longest-prefix matches, so that
 * the cost does not depend on the number of rules; what overlaps was resolved when the policy was compiled). All else is dropped.
 *
 * A flow remembers the number of the policy that allowed it. After a change of the policy the number differs, and its next packet is
 * judged anew: that is how a rule that was revoked ends a flow that lives.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

#define SECOND 1000000000ULL
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define IPV6_FRAGMENT 44
#define FRAGMENT_HEADER 8

#define UDP_IDLE (60 * SECOND)
#define ICMP_IDLE (30 * SECOND)
#define TCP_IDLE (7200 * SECOND)
/* After FIN or RST. */
#define TCP_CLOSING (10 * SECOND)
#define FRAGMENTS_OF_ONE (5 * SECOND)
/* The same refusal is told once in this time. */
#define TELL_AGAIN (5 * SECOND)

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, __u32);
  __type(value, struct slot);
} slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1 << 20);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct rule_key);
  __type(value, struct rule_value);
} rules SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1 << 20);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct port_key);
  __type(value, __u32);
} ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1 << 16);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct pin_key);
  __type(value, struct pin_value);
} pins SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct guard_key);
  __type(value, struct guard_value);
} guarded SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct settings);
} settings SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, COUNTS);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4 << 20);
} events SEC(".maps");

struct flow_key {
  __u32 lease;
  __u8 protocol, family, unused[2];
  /* Of an echo: its identifier, and 0. */
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

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1 << 16);
  __type(key, struct flow_key);
  __type(value, struct flow);
} flows SEC(".maps");

struct refusal_key {
  struct flow_key flow;
  __u8 direction, kind, reason, unused;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1 << 14);
  __type(key, struct refusal_key);
  __type(value, __u64);
} refusals SEC(".maps");

struct fragment_key {
  __u32 lease;
  __u32 id;
  __u8 direction, protocol, family, unused;
  struct address remote;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1 << 12);
  __type(key, struct fragment_key);
  __type(value, __u64);
} fragments SEC(".maps");

struct bucket {
  struct bpf_spin_lock lock;
  __u32 unused;
  __u64 tokens, at;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 3 * 4096);
  __type(key, struct bucket_key);
  __type(value, struct bucket);
} buckets SEC(".maps");

struct packet {
  struct flow_key flow;
  __u8 direction;
  /* Of TCP. */
  __u8 flags;
  __u8 first_fragment, later_fragment, error;
  __u32 fragment_id;
  __u32 transport;
};

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

static __always_inline int same(const struct address *a, const struct address *b) {
  const __u32 *x = (const void *)a, *y = (const void *)b;
  return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

static __always_inline void count(__u32 which) {
  __u64 *value = bpf_map_lookup_elem(&counts, &which);
  if (value) __sync_fetch_and_add(value, 1);
}

static __always_inline void tell(const struct slot *slot, const struct packet *packet, __u32 ifindex, __u8 kind, __u8 reason) {
  struct event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
  if (!event) {
    count(LOST_EVENTS);
    return;
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

static __always_inline __u32 port_verdict(__u32 set, __u8 protocol, __be16 port) {
  if (!set) return 0;
  struct port_key key = {.bits = PORT_KEY_BITS, .set = set, .protocol = protocol, .port = port};
  __u32 *verdict = bpf_map_lookup_elem(&ports, &key);
  return verdict ? *verdict : 0;
}

/* 0: allowed; else the reason. `direction` is that of the flow, not of this packet. */
static __always_inline __u8 judge(const struct slot *slot, const struct flow_key *flow, __u8 direction) {
  __u8 echo = flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6;
  __be16 port = echo ? 0 : direction == EGRESS ? flow->remote_port : flow->local_port;
  __u8 protocol = echo ? IPPROTO_ICMP : flow->protocol;

  if (!slot->policy) return NO_POLICY;
  __u32 zero = 0;
  struct settings *known = bpf_map_lookup_elem(&settings, &zero);
  if (known && direction == EGRESS && !echo && port == bpf_htons(53) &&
      (same(&flow->remote, &known->resolver4) || same(&flow->remote, &known->resolver6)))
    return 0;

  struct guard_key guard_key = {.bits = GUARD_KEY_BITS, .family = flow->family, .remote = flow->remote};
  struct guard_value *guard = bpf_map_lookup_elem(&guarded, &guard_key);
  int exact = 0;
  if (guard) {
    if (guard->kind == NEVER) return GUARDED;
    exact = 1;
    if (!echo && direction == EGRESS)
#pragma unroll
      for (int i = 0; i < GUARD_PORTS; i++)
        if (guard->ports[i] && guard->ports[i] == port) return GUARDED;
  }

  struct rule_key rule_key = {.bits = RULE_KEY_BITS,
                              .policy = slot->policy,
                              .direction = direction,
                              .family = flow->family,
                              .remote = flow->remote};
  struct rule_value *rule = bpf_map_lookup_elem(&rules, &rule_key);
  __u32 verdict = rule ? port_verdict(exact ? rule->exact : rule->set, protocol, port) : 0;
  if (verdict == ALLOW) return 0;
  if (verdict == DENY) return BY_RULE;
  /* What a name resolves to is not chosen by whoever wrote the rule: it opens nothing that is guarded. */
  if (exact) return GUARDED;
  if (direction == EGRESS) {
    struct pin_key pin_key = {.policy = slot->policy, .remote = flow->remote};
    struct pin_value *pin = bpf_map_lookup_elem(&pins, &pin_key);
    if (pin && pin->until > bpf_ktime_get_ns() && port_verdict(pin->set, protocol, port) == ALLOW) return 0;
  }
  return BY_DEFAULT;
}

static __always_inline void map_v4(struct address *to, __be32 from) {
  __builtin_memset(to->bytes, 0, 10);
  to->bytes[10] = to->bytes[11] = 0xff;
  __builtin_memcpy(to->bytes + 12, &from, 4);
}

/* 0, or the kind of event that ends it. */
static __always_inline __u8 parse_v4(struct __sk_buff *skb, const struct slot *slot, struct packet *packet) {
  struct iphdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof ip)) return MALFORMED;
  struct address local;
  map_v4(&local, packet->direction == EGRESS ? ip.saddr : ip.daddr);
  map_v4(&packet->flow.remote, packet->direction == EGRESS ? ip.daddr : ip.saddr);
  packet->flow.family = V4;
  packet->flow.protocol = ip.protocol;
  if (!same(&local, &slot->v4)) return SPOOFED;
  /* Options, source routes among them, are not for sandboxes. */
  if (ip.version != 4 || ip.ihl != 5) return MALFORMED;
  __u16 offset = bpf_ntohs(ip.frag_off);
  packet->later_fragment = (offset & 0x1fff) != 0;
  packet->first_fragment = !packet->later_fragment && (offset & 0x2000);
  packet->fragment_id = ip.id;
  packet->transport = ETH_HLEN + sizeof ip;
  return 0;
}

static __always_inline __u8 parse_v6(struct __sk_buff *skb, const struct slot *slot, struct packet *packet) {
  struct ipv6hdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof ip)) return MALFORMED;
  struct address local;
  __builtin_memcpy(&local, packet->direction == EGRESS ? &ip.saddr : &ip.daddr, sizeof local);
  __builtin_memcpy(&packet->flow.remote, packet->direction == EGRESS ? &ip.daddr : &ip.saddr, sizeof local);
  packet->flow.family = V6;
  packet->flow.protocol = ip.nexthdr;
  if (!same(&local, &slot->v6)) return SPOOFED;
  if (ip.version != 6) return MALFORMED;
  packet->transport = ETH_HLEN + sizeof ip;
  if (ip.nexthdr == IPV6_FRAGMENT) {
    struct {
      __u8 next, unused;
      __be16 offset;
      __be32 id;
    } header;
    if (bpf_skb_load_bytes(skb, packet->transport, &header, sizeof header)) return MALFORMED;
    __u16 offset = bpf_ntohs(header.offset);
    packet->flow.protocol = header.next;
    packet->later_fragment = (offset & 0xfff8) != 0;
    packet->first_fragment = !packet->later_fragment && (offset & 1);
    packet->fragment_id = header.id;
    packet->transport += FRAGMENT_HEADER;
  }
  /* Every other extension header is a protocol that no rule knows. */
  return 0;
}

/* Ports, or the identifier of an echo. A first fragment that is too short to have them is malformed. */
static __always_inline __u8 parse_transport(struct __sk_buff *skb, struct packet *packet) {
  __be16 two[2];
  switch (packet->flow.protocol) {
  case IPPROTO_TCP: {
    struct tcphdr tcp;
    if (bpf_skb_load_bytes(skb, packet->transport, &tcp, sizeof tcp)) return MALFORMED;
    two[0] = tcp.source;
    two[1] = tcp.dest;
    packet->flags = ((__u8 *)&tcp)[13];
    break;
  }
  case IPPROTO_UDP: {
    __be16 udp[4];
    if (bpf_skb_load_bytes(skb, packet->transport, udp, sizeof udp)) return MALFORMED;
    two[0] = udp[0];
    two[1] = udp[1];
    break;
  }
  case IPPROTO_ICMP:
  case IPPROTO_ICMPV6: {
    struct {
      __u8 type, code;
      __be16 checksum, id, sequence;
    } icmp;
    if ((packet->flow.protocol == IPPROTO_ICMP) != (packet->flow.family == V4)) return DENIED;
    if (bpf_skb_load_bytes(skb, packet->transport, &icmp, sizeof icmp)) return MALFORMED;
    __u8 v4 = packet->flow.family == V4;
    if (icmp.type == (v4 ? ICMP_ECHO : ICMP6_ECHO) || icmp.type == (v4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY)) {
      packet->flow.local_port = icmp.id;
      return 0;
    }
    if (packet->direction == INGRESS && (v4 ? icmp.type == 3 || icmp.type == 11 || icmp.type == 12 : icmp.type < 5)) {
      packet->error = 1;
      return 0;
    }
    return DENIED;
  }
  default:
    return DENIED;
  }
  packet->flow.local_port = packet->direction == EGRESS ? two[0] : two[1];
  packet->flow.remote_port = packet->direction == EGRESS ? two[1] : two[0];
  return 0;
}

/* An ICMP error passes when what it quotes is a flow of this sandbox: path MTU and "unreachable" work without a rule. */
static __always_inline int quotes_flow(struct __sk_buff *skb, const struct packet *packet) {
  struct flow_key quoted = {.lease = packet->flow.lease, .family = packet->flow.family};
  __u32 at = packet->transport + 8;
  if (packet->flow.family == V4) {
    struct iphdr ip;
    if (bpf_skb_load_bytes(skb, at, &ip, sizeof ip) || ip.ihl != 5) return 0;
    map_v4(&quoted.remote, ip.daddr);
    quoted.protocol = ip.protocol;
    at += sizeof ip;
  } else {
    struct ipv6hdr ip;
    if (bpf_skb_load_bytes(skb, at, &ip, sizeof ip)) return 0;
    __builtin_memcpy(&quoted.remote, &ip.daddr, sizeof quoted.remote);
    quoted.protocol = ip.nexthdr;
    at += sizeof ip;
  }
  __be16 four[4];
  if (bpf_skb_load_bytes(skb, at, four, sizeof four)) return 0;
  if (quoted.protocol == IPPROTO_TCP || quoted.protocol == IPPROTO_UDP) {
    quoted.local_port = four[0];
    quoted.remote_port = four[1];
  } else {
    quoted.local_port = four[2];
  }
  struct flow *flow = bpf_map_lookup_elem(&flows, &quoted);
  return flow && flow->until > bpf_ktime_get_ns();
}

static __always_inline __u64 idle_of(__u8 protocol) {
  return protocol == IPPROTO_TCP ? TCP_IDLE : protocol == IPPROTO_UDP ? UDP_IDLE : ICMP_IDLE;
}

static __always_inline int is_question(const struct packet *packet) {
  __u32 zero = 0;
  struct settings *known = bpf_map_lookup_elem(&settings, &zero);
  return known && packet->flow.remote_port == bpf_htons(53) &&
         (same(&packet->flow.remote, &known->resolver4) || same(&packet->flow.remote, &known->resolver6));
}

static __always_inline int pass(struct __sk_buff *skb, const struct slot *slot, const struct packet *packet) {
  if (slot->bytes_per_second) {
    __u32 kind = packet->direction == EGRESS ? EGRESS_BYTES : INGRESS_BYTES;
    if (!take(skb->ifindex, kind, skb->len, slot->bytes_per_second, slot->burst_bytes))
      return refuse(slot, packet, skb->ifindex, LIMITED, RATE);
  }
  if (packet->first_fragment) {
    struct fragment_key key = {.lease = slot->lease,
                               .id = packet->fragment_id,
                               .direction = packet->direction,
                               .protocol = packet->flow.protocol,
                               .family = packet->flow.family,
                               .remote = packet->flow.remote};
    __u64 until = bpf_ktime_get_ns() + FRAGMENTS_OF_ONE;
    bpf_map_update_elem(&fragments, &key, &until, BPF_ANY);
  }
  return TC_ACT_OK;
}

static __always_inline int later_fragment(struct __sk_buff *skb, const struct slot *slot, const struct packet *packet) {
  struct fragment_key key = {.lease = slot->lease,
                             .id = packet->fragment_id,
                             .direction = packet->direction,
                             .protocol = packet->flow.protocol,
                             .family = packet->flow.family,
                             .remote = packet->flow.remote};
  __u64 *until = bpf_map_lookup_elem(&fragments, &key);
  if (!until || *until < bpf_ktime_get_ns()) return refuse(slot, packet, skb->ifindex, DENIED, FRAGMENT);
  return pass(skb, slot, packet);
}

static __always_inline int filter(struct __sk_buff *skb, __u8 direction) {
  __u32 ifindex = skb->ifindex;
  struct slot *slot = bpf_map_lookup_elem(&slots, &ifindex);
  if (!slot || !slot->lease) return TC_ACT_SHOT;

  struct ethhdr ethernet;
  if (bpf_skb_load_bytes(skb, 0, &ethernet, sizeof ethernet)) return TC_ACT_SHOT;
  struct packet packet = {.direction = direction};
  packet.flow.lease = slot->lease;
  __u8 wrong;
  if (!skb->vlan_present && ethernet.h_proto == bpf_htons(ETH_P_IP))
    wrong = parse_v4(skb, slot, &packet);
  else if (!skb->vlan_present && ethernet.h_proto == bpf_htons(ETH_P_IPV6))
    wrong = parse_v6(skb, slot, &packet);
  else {
    /* ARP among it: both ends have fixed neighbours. */
    count(LINK_LAYER);
    return TC_ACT_SHOT;
  }
  if (direction == EGRESS) {
    const __u8 *a = ethernet.h_source, *b = slot->mac;
    if (a[0] != b[0] || a[1] != b[1] || a[2] != b[2] || a[3] != b[3] || a[4] != b[4] || a[5] != b[5]) wrong = SPOOFED;
  }
  if (wrong == SPOOFED && (packet.flow.protocol == IPPROTO_ICMPV6 || packet.flow.protocol == 0 || direction == INGRESS)) {
    /* Neighbour discovery and multicast reports, which every stack sends. */
    count(LINK_LAYER);
    return TC_ACT_SHOT;
  }
  if (wrong) return refuse(slot, &packet, ifindex, wrong, wrong == SPOOFED ? SOURCE : PROTOCOL);
  if (packet.later_fragment) return later_fragment(skb, slot, &packet);
  wrong = parse_transport(skb, &packet);
  if (wrong == DENIED && packet.flow.protocol == IPPROTO_ICMPV6) {
    count(LINK_LAYER);
    return TC_ACT_SHOT;
  }
  if (wrong) return refuse(slot, &packet, ifindex, wrong, packet.first_fragment ? FRAGMENT : PROTOCOL);
  if (packet.error) return quotes_flow(skb, &packet) ? pass(skb, slot, &packet) : TC_ACT_SHOT;

  __u64 now = bpf_ktime_get_ns();
  struct flow *flow = bpf_map_lookup_elem(&flows, &packet.flow);
  int anew = flow && flow->closing && packet.flow.protocol == IPPROTO_TCP && (packet.flags & (SYN | ACK)) == SYN;
  if (flow && flow->until > now && !anew) {
    if (flow->policy != slot->policy) {
      __u8 reason = judge(slot, &packet.flow, flow->direction);
      if (reason) {
        packet.direction = flow->direction;
        bpf_map_delete_elem(&flows, &packet.flow);
        tell(slot, &packet, ifindex, REVOKED, reason);
        return TC_ACT_SHOT;
      }
      flow->policy = slot->policy;
    }
    if (packet.flags & (FIN | RST)) flow->closing = 1;
    flow->until = now + (flow->closing ? TCP_CLOSING : idle_of(packet.flow.protocol));
    return pass(skb, slot, &packet);
  }

  __u8 reason = judge(slot, &packet.flow, direction);
  if (reason) return refuse(slot, &packet, ifindex, DENIED, reason);
  if (slot->flows_per_second && !take(ifindex, NEW_FLOWS, 1, slot->flows_per_second, slot->flows_per_second))
    return refuse(slot, &packet, ifindex, LIMITED, RATE);
  struct flow fresh = {.until = now + idle_of(packet.flow.protocol), .policy = slot->policy, .direction = direction};
  if (bpf_map_update_elem(&flows, &packet.flow, &fresh, BPF_ANY)) return TC_ACT_SHOT;
  /* Questions to the resolver are told by the resolver, with their names. */
  if (!is_question(&packet)) tell(slot, &packet, ifindex, ALLOWED, 0);
  return pass(skb, slot, &packet);
}

SEC("tc")
int from_sandbox(struct __sk_buff *skb) { return filter(skb, EGRESS); }

SEC("tc")
int to_sandbox(struct __sk_buff *skb) { return filter(skb, INGRESS); }

char filter_license[] SEC("license") = "GPL";
