/** Buckets and streams, once NATS answers: the gateway may be started before or while its store is. */
import { setTimeout as delay } from 'node:timers/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Logger } from '../chassis/log.ts'
import { openStore, type NatsConfig, type Store } from '../chassis/nats.ts'

const retryMs = 500

export const openStoreWhenReady = async (
  connection: NatsConnection,
  config: NatsConfig,
  logger: Logger,
): Promise<Store> => {
  for (;;) {
    try {
      return await openStore(connection, config)
    } catch (err) {
      if (connection.isClosed()) throw err
      logger.warn({ err }, 'the store cannot be opened yet')
      await delay(retryMs)
    }
  }
}
