/** What all agents of a cluster have in common; the rest each node knows of itself. */
import { Type, type Static } from 'typebox'

export const NodeTemplate = Type.Object(
  {
    installation: Type.String(),
    /** A `NodeAgentConfig` but for what is missing: checked by the agent itself. */
    agent: Type.Record(Type.String(), Type.Unknown()),
    /** Absent: every start is a boot. */
    checkpoints: Type.Optional(
      Type.Object({ outDir: Type.String(), inputsDigest: Type.String() }, { additionalProperties: false }),
    ),
  },
  { additionalProperties: false },
)
export type NodeTemplate = Static<typeof NodeTemplate>

/** Of the DaemonSet, which its pods ask about. */
export const agentSetName = 'node-agent'

/** In the agent's pod. */
export const podPaths = {
  template: '/etc/forkyard/template.json',
  /** On the pod's tmpfs. */
  config: '/run/forkyard-config/config.json',
  token: '/var/run/forkyard-token',
} as const
