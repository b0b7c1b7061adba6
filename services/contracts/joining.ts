/**
 * Nodes that join by a token, beside those that the stack makes (`docs/decisions/0072-joined-nodes.md`).
 *
 * Bucket `nodes`, written by gateways alone, each entry signed for its key: `token.<tokenId>` is a `JoinTokenRecord`, `node.<nodeId>` a
 * `JoinedNode`. What a joined node holds is its own: tokens that are derived from those of the hops and its id, a user of its own in NATS, and a
 * certificate that it made itself and that is known by its record. Without a record nobody deals with it.
 */
import { createHash, createHmac, X509Certificate } from 'node:crypto'
import { Type, type Static } from 'typebox'
import { NodeLabels, NodePool } from './node.ts'

const hex = (bytes: number) => Type.String({ pattern: `^[0-9a-f]{${bytes * 2}}$` })
const Url = Type.String({ pattern: '^https?://[^/?#@]+$', maxLength: 200 })
/** PEM of one certificate. */
const Certificate = Type.String({
  pattern: '^-----BEGIN CERTIFICATE-----\\n[A-Za-z0-9+/=\\n]+\\n-----END CERTIFICATE-----\\n?$',
  maxLength: 4096,
})
/** Part of the node's id, and so of subjects and keys. */
export const NodeName = Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$' })

/** Ids that the stack gives have no `_`, so none can be taken for another kind. */
export const joinedNodeId = (installation: string, name: string): string => `${installation}_${name}`
export const isJoinedId = (nodeId: string): boolean => nodeId.includes('_')

/** Whoever shows it within its time may join once. Its text is a secret. */
export const JoinToken = Type.Object(
  {
    tokenId: hex(8),
    secret: hex(32),
    /** Where nodes reach gateways, any of which will do. */
    urls: Type.Array(Url, { minItems: 1 }),
    /** SHA-256 of the DER of the authority whose certificate a gateway must have. Absent: plain connections. */
    authority: Type.Optional(hex(32)),
  },
  { additionalProperties: false },
)
export type JoinToken = Static<typeof JoinToken>

const textPrefix = 'fyjoin1.'
export const joinTokenText = (token: JoinToken): string =>
  `${textPrefix}${Buffer.from(JSON.stringify(token)).toString('base64url')}`
/** @returns what a text says, unchecked; undefined for one that is no token */
export const joinTokenContent = (text: string): unknown => {
  if (!text.startsWith(textPrefix)) return undefined
  try {
    return JSON.parse(Buffer.from(text.slice(textPrefix.length), 'base64url').toString())
  } catch {
    return undefined
  }
}
/** @param pem of one certificate @returns SHA-256 of its DER, hex */
export const certificateDigest = (pem: string): string =>
  createHash('sha256').update(new X509Certificate(pem).raw).digest('hex')

export const JoinTokenRecord = Type.Object(
  {
    tokenId: hex(8),
    /** SHA-256 of the secret. */
    secretHash: hex(32),
    /** Epoch milliseconds. */
    expiresAt: Type.Integer(),
    /** ARN of the principal that made it. */
    by: Type.String(),
    /** Of the node that joins with it. */
    pool: NodePool,
    labels: NodeLabels,
    signature: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type JoinTokenRecord = Static<typeof JoinTokenRecord>

export const JoinedNode = Type.Object(
  {
    nodeId: Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' }),
    /** Base URL of its agent; reports with another one are not its own. */
    url: Url,
    /** Nodes of another pool it cannot pretend to be. */
    pool: NodePool,
    labels: NodeLabels,
    /** What its agent proves itself with: the one in use, and the one before or after while they change. None: plain connections. */
    certificates: Type.Array(Certificate, { maxItems: 2 }),
    /** ISO 8601. */
    joinedAt: Type.String(),
    /** ARN of the principal whose token it showed. */
    by: Type.String(),
    tokenId: hex(8),
    signature: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type JoinedNode = Static<typeof JoinedNode>

/**
 * Node -> gateway, on the port for calls: `POST joinPath` with a `JoinRequest`, and later `POST refreshPath` with a `RefreshRequest` and
 * `callHeaders.token`. Both with `hopHeader`, which no function can send.
 */
export const joinPath = '/v1/nodes'
export const refreshPath = '/v1/nodes/refresh'
export const hopHeader = { name: 'forkyard-hop', value: 'node' } as const

export const JoinRequest = Type.Object(
  { tokenId: hex(8), secret: hex(32), name: NodeName, url: Url, certificate: Type.Optional(Certificate) },
  { additionalProperties: false },
)
export type JoinRequest = Static<typeof JoinRequest>

/** With the certificate that it will use from the answer on, if that is another one. */
export const RefreshRequest = Type.Object({ certificate: Type.Optional(Certificate) }, { additionalProperties: false })
export type RefreshRequest = Static<typeof RefreshRequest>

/** What the installation says of a joined node's configuration; what is of its machine, it adds. */
export const JoinedConfig = Type.Object(
  {
    nodeId: Type.String(),
    /** Members of `NodeAgentConfig`. */
    agent: Type.Record(Type.String(), Type.Unknown()),
  },
  { additionalProperties: false },
)
export type JoinedConfig = Static<typeof JoinedConfig>

/**
 * A secret of one node from one that the installation has: of a hop (towards this node, or from it), or of users in NATS.
 *
 * @returns 64 hexadecimal digits
 */
export const derivedToken = (secret: string, nodeId: string): string =>
  createHmac('sha256', secret).update(`forkyard node ${nodeId}`).digest('hex')

/** What a joined node shows gateways: it says who it is. */
export const nodeBearer = (secret: string, nodeId: string): string => `${nodeId}.${derivedToken(secret, nodeId)}`
