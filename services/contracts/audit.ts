/** What sandboxes did on the network. Stream `AUDIT`, subject `audit.<tenant>.<name>`: JSON array of records, batched per node. */
import { Type, type Static } from 'typebox'

const who = {
  /** Epoch milliseconds. */
  at: Type.Number(),
  tenant: Type.String(),
  name: Type.String(),
  version: Type.String(),
  nodeId: Type.String(),
  instanceId: Type.String(),
  /** The one invocation that ran in the sandbox at that time; absent when there was none, or several, or the sandbox has forks. */
  invocationId: Type.Optional(Type.String()),
}

export const flowVerdicts = ['allowed', 'denied', 'revoked', 'spoofed', 'limited', 'malformed'] as const

/**
 * A flow is told once: when its first packet passes, when it is refused (again after 5 s, if it is tried again), and when a change of the
 * policy ends it.
 */
export const FlowRecord = Type.Object({
  kind: Type.Literal('flow'),
  ...who,
  verdict: Type.Enum(flowVerdicts),
  /** Why not `allowed`: `default` (no rule), `rule`, `guarded`, `protocol`, `fragment`, `rate`, `source`, `no-policy`. */
  reason: Type.String(),
  /** Seen from the function: who began it. */
  direction: Type.Enum(['egress', 'ingress']),
  /** `tcp`, `udp`, `icmp`, or the protocol's number. */
  protocol: Type.String(),
  /** Of an echo: its identifier. */
  localPort: Type.Integer(),
  remoteAddress: Type.String(),
  remotePort: Type.Integer(),
})
export type FlowRecord = Static<typeof FlowRecord>

export const socketOperations = ['bind', 'listen', 'accept'] as const

/** A call of the function on a socket of IPv4 or IPv6, as the sandbox's kernel saw it, with what came of it. Only of functions with a network. */
export const SocketRecord = Type.Object({
  kind: Type.Literal('socket'),
  ...who,
  /** `failed`: the kernel refused it. */
  verdict: Type.Enum(['done', 'failed']),
  operation: Type.Enum(socketOperations),
  /** Number of the error (Linux), 0 for `done`. */
  errno: Type.Integer(),
  /** Bound to, or listened on; of `accept`: of whoever came, absent when the function did not ask. */
  address: Type.Optional(Type.String()),
  port: Type.Optional(Type.Integer()),
})
export type SocketRecord = Static<typeof SocketRecord>

export const dnsVerdicts = ['answered', 'denied', 'failed'] as const

export const DnsRecord = Type.Object({
  kind: Type.Literal('dns'),
  ...who,
  verdict: Type.Enum(dnsVerdicts),
  question: Type.String(),
  /** `A`, `AAAA`, ... */
  type: Type.String(),
  /** Addresses in the answer. */
  addresses: Type.Array(Type.String()),
})
export type DnsRecord = Static<typeof DnsRecord>

/** A request or a session through a binding, at its begin. */
export const BindingRecord = Type.Object({
  kind: Type.Literal('binding'),
  ...who,
  /** `refused`: it leads to an address that is nobody's to reach from a sandbox, or to a function that may not be called. */
  verdict: Type.Enum(['used', 'refused']),
  binding: Type.String(),
  /** `http`, `s3`, `postgresql`, `function`. */
  type: Type.String(),
  /** Where the node's proxy takes it: an origin, `host:port/database`, a function. */
  target: Type.String(),
  /** Of a function: the invocation that came of it. */
  calledInvocationId: Type.Optional(Type.String()),
})
export type BindingRecord = Static<typeof BindingRecord>

export const AuditRecord = Type.Union([FlowRecord, SocketRecord, DnsRecord, BindingRecord])
export type AuditRecord = Static<typeof AuditRecord>
