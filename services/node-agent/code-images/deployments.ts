/** Tells of deployments while they happen: of every function whose record changes, its newest code. */
import { KvWatchInclude, type KV, type KvEntry } from '@nats-io/kv'
import { setTimeout as delay } from 'node:timers/promises'
import { Value } from 'typebox/value'
import type { Logger } from '../../chassis/log.ts'
import type { Verifier } from '../../chassis/signing.ts'
import { FunctionRecord, type VersionConfig } from '../../contracts/function.ts'
import { registryKey } from '../../contracts/subjects.ts'

export interface DeploymentsDeps {
  readonly kv: Pick<KV, 'watch'>
  readonly verifier: Verifier
  readonly logger: Logger
  /** Must not throw. */
  readonly onDeployment: (latest: Omit<VersionConfig, 'environment'>) => void
}

const againMs = 1_000

/**
 * Only what changes is heard, and what changes while NATS is away is not: the first request fetches that.
 *
 * @returns ends it
 */
export const followDeployments = ({ kv, verifier, logger, onDeployment }: DeploymentsDeps): (() => void) => {
  const stop = new AbortController()
  let watching: { stop(): void } | undefined
  const hear = (entry: KvEntry): void => {
    if (entry.operation !== 'PUT') return
    try {
      onDeployment(verifier.check(entry.key, Value.Parse(FunctionRecord, entry.json())).latest)
    } catch (err) {
      logger.warn({ err, key: entry.key }, 'a deployment cannot be read: its code is not fetched ahead')
    }
  }
  const follow = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        const entries = await kv.watch({ key: registryKey('*', '*'), include: KvWatchInclude.UpdatesOnly })
        watching = entries
        for await (const entry of entries) hear(entry)
      } catch (err) {
        if (!stop.signal.aborted) logger.warn({ err }, 'deployments: the watch broke')
      }
      await delay(againMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
  }
  follow().catch((err: unknown) => logger.error({ err }, 'deployments are not followed any more'))
  return () => {
    stop.abort()
    watching?.stop()
  }
}
