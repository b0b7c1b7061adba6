/** What the gateway cannot do its work without, and whether it is there. */
import { setTimeout as delay } from 'node:timers/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import type { AccessDirectory } from './access/directory.ts'
import type { Registry } from './registry.ts'
import type { SchedulerClient } from './scheduler-client.ts'

export interface ReadinessDeps {
  readonly connection: Pick<NatsConnection, 'status' | 'isClosed'>
  readonly registry: Pick<Registry, 'synced'>
  readonly access: Pick<AccessDirectory, 'synced'>
  readonly scheduler: Pick<SchedulerClient, 'isThere'>
  /** Aborted when the gateway drains. */
  readonly closing: AbortSignal
}

const checkMs = 1_000

/** Ready without nodes: they come and go, and invocations wait for the first. */
export const watchReadiness = ({ connection, registry, access, scheduler, closing }: ReadinessDeps) => {
  let connected = true
  let scheduled = false
  const watchConnection = async (): Promise<void> => {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') connected = false
      if (type === 'reconnect') connected = true
    }
  }
  const watchScheduler = async (): Promise<void> => {
    while (!closing.aborted) {
      scheduled = await scheduler.isThere()
      await delay(checkMs, undefined, { signal: closing, ref: false }).catch(() => undefined)
    }
  }
  void watchConnection()
  void watchScheduler()
  return {
    missing: (): string | undefined => {
      if (closing.aborted) return 'draining'
      if (connection.isClosed() || !connected) return 'nats'
      if (!registry.synced) return 'registry'
      if (!access.synced) return 'access'
      return scheduled ? undefined : 'scheduler'
    },
  }
}
