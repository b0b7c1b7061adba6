/** What the routes stand on. */
import type { JetStreamClient } from '@nats-io/jetstream'
import type { Registry as MetricsRegistry } from 'prom-client'
import type { Logger } from '../chassis/log.ts'
import type { AsyncQueue } from './async/queue.ts'
import type { ImageBuilder } from './archive/build-image.ts'
import type { CodeStore } from './code-store.ts'
import type { GatewayConfig } from './config.ts'
import type { Invoker } from './invoke/invoker.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { Registry } from './registry.ts'
import type { SchedulerClient } from './scheduler-client.ts'

export interface GatewayDeps {
  readonly config: GatewayConfig
  readonly logger: Logger
  readonly metricsRegistry: MetricsRegistry
  readonly metrics: GatewayMetrics
  readonly registry: Registry
  readonly code: CodeStore
  readonly images: ImageBuilder
  readonly invoker: Invoker
  readonly scheduler: SchedulerClient
  readonly queue: AsyncQueue
  readonly js: JetStreamClient
  readonly notReady: () => string | undefined
  /** Aborted when the gateway begins to drain: streams without an end of their own finish. */
  readonly closing: AbortSignal
}

