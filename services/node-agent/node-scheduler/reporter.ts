/** Tells the schedulers what this node has: changes at once (gathered until the code that made them returns), everything each second. */
import { randomUUID } from 'node:crypto'
import { headers, type NatsConnection, type Subscription } from '@nats-io/transport-node'
import type { InstanceReport, NodeReport } from '../../contracts/node.ts'
import { protocolHeader, protocolVersion } from '../../contracts/protocol.ts'
import { subjects } from '../../contracts/subjects.ts'

export interface ReporterDeps {
  readonly connection: NatsConnection
  readonly nodeId: string
  /** Known only once the agent listens. */
  readonly url: () => string
  readonly accepting: () => boolean
  readonly capacity: NodeReport['capacity']
  readonly cache: () => NonNullable<NodeReport['cache']>
  readonly all: () => InstanceReport[]
}

const fullEveryMs = 1000

const spoken = headers()
spoken.set(protocolHeader, String(protocolVersion))

export class Reporter {
  readonly #deps: ReporterDeps
  readonly #epoch = randomUUID()
  readonly #changed = new Map<string, InstanceReport>()
  #ended: string[] = []
  #seq = 0
  #scheduled = false
  #timer: NodeJS.Timeout | undefined
  #asked: Subscription | undefined

  constructor(deps: ReporterDeps) {
    this.#deps = deps
  }

  start(): void {
    this.#timer = setInterval(() => this.#publish(true), fullEveryMs)
    this.#asked = this.#deps.connection.subscribe(subjects.reportNow, { callback: () => this.#publish(true) })
    this.#publish(true)
  }

  instanceChanged(report: InstanceReport): void {
    this.#changed.set(report.instanceId, report)
    this.#soon()
  }

  invocationEnded(invocationId: string): void {
    this.#ended.push(invocationId)
    this.#soon()
  }

  /** Everything, at once: what changed is not an instance. */
  publishFull(): void {
    this.#publish(true)
  }

  /** Last word: a full report, so that the schedulers need not wait for this node's silence. */
  stop(): void {
    clearInterval(this.#timer)
    this.#asked?.unsubscribe()
    this.#publish(true)
  }

  #soon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.#publish(false))
  }

  #publish(full: boolean): void {
    this.#scheduled = false
    const { connection, nodeId, url, accepting, capacity, cache, all } = this.#deps
    if (connection.isClosed()) return
    const report: NodeReport = {
      nodeId,
      epoch: this.#epoch,
      seq: this.#seq++,
      full,
      url: url(),
      accepting: accepting(),
      capacity,
      cache: cache(),
      // What ended is no longer in the table, but must be told once.
      instances: full
        ? [...all(), ...[...this.#changed.values()].filter(({ state }) => state === 'ended')]
        : [...this.#changed.values()],
      endedInvocations: this.#ended,
    }
    this.#changed.clear()
    this.#ended = []
    connection.publish(subjects.nodeReport(nodeId), JSON.stringify(report), { headers: spoken })
  }
}
