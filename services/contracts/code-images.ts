/**
 * Code images on nodes. A node that lacks one copies it from a node that has it, and from the store where none does: nodes say to each other where
 * they are, and to schedulers what of functions' files they have.
 */
import { Type, type Static } from 'typebox'

/** Node -> nodes, NATS subject `node.<nodeId>.here`. */
export const NodeHere = Type.Object(
  {
    nodeId: Type.String({ minLength: 1, maxLength: 64 }),
    /** Base URL of its port for other nodes. */
    url: Type.String({ pattern: '^https?://' }),
    /** It drains: others are asked. */
    leaving: Type.Boolean(),
  },
  { additionalProperties: false },
)
export type NodeHere = Static<typeof NodeHere>

/** Every so often a node says so. */
export const nodeHereEveryMs = 5_000

/** Lower-case hex SHA-256. */
export const digestPattern = '^[0-9a-f]{64}$'

/** Node -> node, `GET`: the bytes of the image; 404 where it is not, 429 where too many are sent already. */
export const codeImagePath = (digest: string): string => `/v1/code-images/${digest}`

/** Revisions in one message. */
export const maxRevisionsTold = 2_000

const Revisions = Type.Array(Type.String(), { maxItems: maxRevisionsTold })

/**
 * Node -> schedulers, NATS subject `node.<nodeId>.files`: for which revisions (`revisionKey`) it has files. A hint, for the choice among nodes that
 * are as good otherwise; nothing depends on its being true.
 */
export const NodeFiles = Type.Object(
  {
    nodeId: Type.String({ minLength: 1, maxLength: 64 }),
    /** The node has no others than these. False: these are new, and `gone` are not there any more. */
    all: Type.Boolean(),
    /** Checkpoints of their own. Where there is one the code is too. */
    checkpoints: Revisions,
    /** The image of the code alone. */
    code: Revisions,
    gone: Revisions,
  },
  { additionalProperties: false },
)
export type NodeFiles = Static<typeof NodeFiles>
