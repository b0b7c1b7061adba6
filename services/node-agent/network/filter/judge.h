/* Whether a flow may begin: guarded addresses, rules, names. */
#ifndef FORKYARD_NETWORK_JUDGE_H
#define FORKYARD_NETWORK_JUDGE_H

#include "packet.h"

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

#endif
