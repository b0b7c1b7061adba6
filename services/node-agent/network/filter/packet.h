/* What a packet is: whose, between whom, and whether it is what it says. */
#ifndef FORKYARD_NETWORK_PACKET_H
#define FORKYARD_NETWORK_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include "maps.h"

#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define IPV6_FRAGMENT 44
#define FRAGMENT_HEADER 8

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
static __always_inline int quotes_flow(struct __sk_buff *skb, void *table, const struct packet *packet) {
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
  struct flow *flow = bpf_map_lookup_elem(table, &quoted);
  return flow && flow->until > bpf_ktime_get_ns();
}

#endif
