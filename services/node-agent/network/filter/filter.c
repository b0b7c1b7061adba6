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
#include "judge.h"
#include "tell.h"

#define UDP_IDLE (60 * SECOND)
#define ICMP_IDLE (30 * SECOND)
#define TCP_IDLE (7200 * SECOND)
/* After FIN or RST. */
#define TCP_CLOSING (10 * SECOND)
#define FRAGMENTS_OF_ONE (5 * SECOND)

static __always_inline __u64 idle_of(__u8 protocol) {
  return protocol == IPPROTO_TCP ? TCP_IDLE : protocol == IPPROTO_UDP ? UDP_IDLE : ICMP_IDLE;
}

static __always_inline int is_question(const struct packet *packet) {
  __u32 zero = 0;
  struct settings *known = bpf_map_lookup_elem(&settings, &zero);
  return known && packet->flow.remote_port == bpf_htons(53) &&
         (same(&packet->flow.remote, &known->resolver4) || same(&packet->flow.remote, &known->resolver6));
}

static __always_inline struct flow_key fragment_key(const struct packet *packet) {
  struct flow_key key = {.lease = packet->flow.lease,
                         .protocol = packet->flow.protocol,
                         .family = packet->flow.family,
                         .fragment_of = packet->direction,
                         .local_port = packet->fragment_id >> 16,
                         .remote_port = packet->fragment_id & 0xffff,
                         .remote = packet->flow.remote};
  return key;
}

static __always_inline int pass(struct __sk_buff *skb, const struct slot *slot, void *table, const struct packet *packet) {
  if (slot->bytes_per_second) {
    __u32 kind = packet->direction == EGRESS ? EGRESS_BYTES : INGRESS_BYTES;
    if (!take(skb->ifindex, kind, skb->len, slot->bytes_per_second, slot->burst_bytes))
      return refuse(slot, packet, skb->ifindex, LIMITED, RATE);
  }
  if (packet->first_fragment) {
    struct flow_key key = fragment_key(packet);
    struct flow first = {.until = bpf_ktime_get_ns() + FRAGMENTS_OF_ONE};
    bpf_map_update_elem(table, &key, &first, BPF_ANY);
  }
  return TC_ACT_OK;
}

static __always_inline int later_fragment(struct __sk_buff *skb, const struct slot *slot, void *table, const struct packet *packet) {
  struct flow_key key = fragment_key(packet);
  struct flow *first = bpf_map_lookup_elem(table, &key);
  if (!first || first->until < bpf_ktime_get_ns()) return refuse(slot, packet, skb->ifindex, DENIED, FRAGMENT);
  return pass(skb, slot, table, packet);
}

static __always_inline int filter(struct __sk_buff *skb, __u8 direction) {
  __u32 ifindex = skb->ifindex;
  struct slot *slot = bpf_map_lookup_elem(&slots, &ifindex);
  void *table = bpf_map_lookup_elem(&flows, &ifindex);
  if (!slot || !slot->lease || !table) return TC_ACT_SHOT;

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
  if (packet.later_fragment) return later_fragment(skb, slot, table, &packet);
  wrong = parse_transport(skb, &packet);
  if (wrong == DENIED && packet.flow.protocol == IPPROTO_ICMPV6) {
    count(LINK_LAYER);
    return TC_ACT_SHOT;
  }
  if (wrong) return refuse(slot, &packet, ifindex, wrong, packet.first_fragment ? FRAGMENT : PROTOCOL);
  if (packet.error) return quotes_flow(skb, table, &packet) ? pass(skb, slot, table, &packet) : TC_ACT_SHOT;

  __u64 now = bpf_ktime_get_ns();
  struct flow *flow = bpf_map_lookup_elem(table, &packet.flow);
  int anew = flow && flow->closing && packet.flow.protocol == IPPROTO_TCP && (packet.flags & (SYN | ACK)) == SYN;
  if (flow && flow->until > now && !anew) {
    if (flow->policy != slot->policy) {
      __u8 reason = judge(slot, &packet.flow, flow->direction);
      if (reason) {
        packet.direction = flow->direction;
        bpf_map_delete_elem(table, &packet.flow);
        tell(slot, &packet, ifindex, REVOKED, reason);
        return TC_ACT_SHOT;
      }
      flow->policy = slot->policy;
    }
    if (packet.flags & (FIN | RST)) flow->closing = 1;
    flow->until = now + (flow->closing ? TCP_CLOSING : idle_of(packet.flow.protocol));
    return pass(skb, slot, table, &packet);
  }

  __u8 reason = judge(slot, &packet.flow, direction);
  if (reason) return refuse(slot, &packet, ifindex, DENIED, reason);
  if (slot->flows_per_second && !take(ifindex, NEW_FLOWS, 1, slot->flows_per_second, slot->flows_per_second))
    return refuse(slot, &packet, ifindex, LIMITED, RATE);
  /* What cannot be told does not begin. Questions to the resolver are told by the resolver, with their names. */
  if (!is_question(&packet) && !tell(slot, &packet, ifindex, ALLOWED, 0)) return TC_ACT_SHOT;
  struct flow fresh = {.until = now + idle_of(packet.flow.protocol), .policy = slot->policy, .direction = direction};
  if (bpf_map_update_elem(table, &packet.flow, &fresh, BPF_ANY)) return TC_ACT_SHOT;
  return pass(skb, slot, table, &packet);
}

SEC("tc")
int from_sandbox(struct __sk_buff *skb) { return filter(skb, EGRESS); }

SEC("tc")
int to_sandbox(struct __sk_buff *skb) { return filter(skb, INGRESS); }

char filter_license[] SEC("license") = "GPL";
