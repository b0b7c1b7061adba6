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
    /** A URL that answers 200, or a port (of loopback, unless `host` is given) that accepts. */
    ready: Type.Union([
      Type.Object({
        url: Type.String(),
        /** For https: the certificate's issuer and the name in it. */
        tls: Type.Optional(Type.Object({ ca: Type.String(), name: Type.String() })),
      }),
      Type.Object({ tcpPort: Type.Integer(), host: Type.Optional(Type.String()) }),
    ]),
    readyTimeoutMs: Type.Integer({ minimum: 1 }),
    /** Between TERM and KILL. */
    graceMs: Type.Integer({ minimum: 0 }),
    /** `none`: no capability at all; `root`: those of root, which sandboxes, mounts and control groups need. */
    privileges: Type.Enum(['none', 'root'] as const),
    /** Owns the files and runs the service, without any capability. Absent: root. Only under systemd. */
    user: Type.Optional(Type.String()),
    /** Directories that the user's service writes to; made for it. */
    writablePaths: Type.Optional(Type.Array(Type.String({ pattern: '^/' }))),
    /** Where CPU is short it comes before the others. */
    first: Type.Optional(Type.Boolean()),
    /** Says over `$NOTIFY_SOCKET` that it is ready, and that it is alive. */
    notify: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)
export type ServiceSpec = Static<typeof ServiceSpec>

/** As `nice` counts, of a service that is `first`. */
export const firstNice = -10
