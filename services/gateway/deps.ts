/** What the routes stand on. */
import type { Registry as MetricsRegistry } from 'prom-client'
import type { Logger } from '../chassis/log.ts'
import type { AccessDirectory } from './access/directory.ts'
import type { DeadLetters } from './async/dead-letters.ts'
import type { AsyncQueue } from './async/queue.ts'
import type { ImageBuilder } from './archive/build-image.ts'
import type { CodeStore } from './code-store.ts'
import type { GatewayConfig } from './config.ts'
import type { AuditTail, LogTail } from './logs/tail.ts'
import type { Invoker } from './invoke/invoker.ts'
import type { Joining } from './joining/joining.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { BindingStore } from './bindings.ts'
import type { NetworkPolicies } from './network-policies.ts'
import type { NodeClient } from './node-client.ts'
import type { Registry } from './registry.ts'
import type { BodyBudget } from './routes/read-body.ts'
import type { SchedulerClient } from './scheduler-client.ts'

export interface GatewayDeps {
  readonly config: GatewayConfig
  readonly logger: Logger
  readonly metricsRegistry: MetricsRegistry
  readonly metrics: GatewayMetrics
  readonly registry: Registry
  /** Principals and their keys. */
  readonly access: AccessDirectory
  readonly networkPolicies: NetworkPolicies
  readonly bindings: BindingStore
  readonly code: CodeStore
  readonly images: ImageBuilder
  readonly invoker: Invoker
  readonly scheduler: SchedulerClient
  readonly nodes: Pick<NodeClient, 'explain'>
  /** Absent: no machine can join. */
  readonly joining?: Joining | undefined
  readonly queue: AsyncQueue
  readonly deadLetters: DeadLetters
  readonly logs: LogTail
  readonly audit: AuditTail
  /** Request bodies in memory, of all requests together. */
  readonly bodies: BodyBudget
  readonly notReady: () => string | undefined
  /** Aborted when the gateway begins to drain: streams without an end of their own finish. */
  readonly closing: AbortSignal
}
