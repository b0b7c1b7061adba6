/** What the supervisor scripts read on stdin. */
import { Type, type Static } from 'typebox'

export const ServiceSpec = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z][a-z0-9-]*$' }),
    installation: Type.String({ pattern: '^[a-z][a-z0-9-]*$' }),
    stateDir: Type.String({ pattern: '^/' }),
    command: Type.Array(Type.String(), { minItems: 1 }),
    /** Mode 0600. */
    files: Type.Array(Type.Object({ path: Type.String({ pattern: '^/' }), content: Type.String() })),
    /** Removed together with the service. */
    ownedPaths: Type.Array(Type.String({ pattern: '^/' })),
    /** A URL that answers 200, or a loopback port that accepts. */
    ready: Type.Union([Type.Object({ url: Type.String() }), Type.Object({ tcpPort: Type.Integer() })]),
    readyTimeoutMs: Type.Integer({ minimum: 1 }),
    /** Between TERM and KILL. */
    graceMs: Type.Integer({ minimum: 0 }),
    /** `none`: no capability at all; `root`: those of root, which sandboxes, mounts and control groups need. */
    privileges: Type.Enum(['none', 'root'] as const),
  },
  { additionalProperties: false },
)
export type ServiceSpec = Static<typeof ServiceSpec>
