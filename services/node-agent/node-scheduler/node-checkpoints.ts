/** The checkpoints of versions, as this node makes them: where, with what, and under which key. */
import { join } from 'node:path'
import { CheckpointIndex, indexKeys } from '../checkpoint/checkpoint-index.ts'
import { RefusedError, makeVersionCheckpoint } from '../checkpoint/make-version.ts'
import { keyOf, platformParts, shapePart } from '../checkpoint/key.ts'
import { secretNames } from '../checkpoint/secrets.ts'
import { VersionCheckpoints } from '../checkpoint/version-checkpoints.ts'
import { VersionStore } from '../checkpoint/version-store.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { RuntimeFiles } from '../config.ts'
import { instanceLimits } from './limits.ts'
import type { Quiet } from './quiet.ts'
import type { StarterDeps } from './sandbox-starter.ts'

/** Of what this file and those that it calls put into a checkpoint. */
const format = 'version-1'

export interface NodeCheckpointsDeps extends StarterDeps {
  /** Ids of sandboxes that are nobody's leftovers. */
  readonly live: Set<string>
  readonly quiet: Quiet
}

/** Everything on which the pages depend. Values of secrets are not in them, and not in the name of a directory either. */
const versionKey = (config: VersionConfig, runtime: RuntimeFiles, platform: readonly string[]): string => {
  const { tenant, name, version, revisionId, runtime: runtimeName, handler, imageDigest, memoryMiB, timeoutMs } = config
  const secrets = new Set(secretNames(config))
  const environment = Object.entries(config.environment).map(([key, value]) => [key, secrets.has(key) ? '' : value])
  const { concurrency } = config.policy
  return keyOf([
    format,
    JSON.stringify([tenant, name, version, revisionId, runtimeName, handler, imageDigest, memoryMiB, timeoutMs]),
    JSON.stringify([environment, concurrency]),
    runtime.imageDigest,
    shapePart(runtime.command, 'version', config.ephemeralStorageMiB),
    ...platform,
  ])
}

export const createNodeCheckpoints = (
  deps: NodeCheckpointsDeps,
): { checkpoints: VersionCheckpoints; store: VersionStore } => {
  const { config, host, images, logger, logs, revisions, metrics, live, quiet } = deps
  const platform = config.versionCheckpoints ? platformParts(config.runscPath) : []
  const keys = indexKeys(config.environmentKeys, `of versions on ${config.nodeId}`)
  const index = new CheckpointIndex(join(config.stateDir, 'checkpoints.json'), keys, (err) =>
    logger.error({ err }, 'the index of checkpoints is not this node’s own: they are made anew'),
  )
  const store = new VersionStore(join(config.stateDir, 'checkpoints'), index)
  const runtimeOf = ({ runtime }: VersionConfig): RuntimeFiles => {
    const files = config.runtimes[runtime]
    if (!files) throw new RefusedError(`this node has no runtime ${runtime}`)
    return files
  }
  const checkpoints = new VersionCheckpoints({
    config,
    store,
    keyOf: (version) => versionKey(version, runtimeOf(version), platform),
    make: async (version, directory, signal) =>
      makeVersionCheckpoint(
        { host, begun: (id) => live.add(id), gone: (id) => live.delete(id), signal },
        {
          config: version,
          runtime: runtimeOf(version),
          code: await images.path(version.imageDigest, version),
          // One CPU: others are served meanwhile.
          limits: {
            ...instanceLimits(version.memoryMiB, config.limits.sandboxOverheadMiB, config.limits.pids),
            cpus: 1,
          },
          region: config.region,
          nodeSecrets: {
            'the token of gateways': config.internalToken,
            'the token of schedulers': config.schedulerToken,
            "the node's NATS password": config.nats.password ?? '',
          },
          quiet: () => quiet.reached(signal),
        },
        directory,
      ),
    isCurrent: (ref) => revisions.isCurrent(ref),
    tell: ({ tenant, name, version }, line) =>
      logs.add(tenant, name, { at: Date.now(), version, instanceId: 'checkpoint', stream: 'platform', line }),
    logger,
    metrics,
  })
  return { checkpoints, store }
}
