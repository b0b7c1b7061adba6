/**
 * Tells the schedulers what this node has: what nobody else tells at once, with everything else of the same turn; what an invocation changes a moment
 * later, since the scheduler that lent it a slot and the gateway that has its answer know; each second whatever differs from what was told; and
 * everything now and then, and when asked.
 */
import { randomUUID } from 'node:crypto'
import { headers, type NatsConnection, type Subscription } from '@nats-io/transport-node'
import { keepAliveOf } from '../../contracts/function.ts'
import {
  briefMs,
  toldWithinMs,
  type Cordon,
  type InstanceChange,
  type InstanceReport,
  type NodeLabels,
  type NodeReport,
} from '../../contracts/node.ts'
import { protocolHeader, protocolVersion } from '../../contracts/protocol.ts'
import { subjects } from '../../contracts/subjects.ts'
import type { TermFence } from './term-fence.ts'

export interface ReporterDeps {
  readonly connection: Pick<NatsConnection, 'publish' | 'subscribe' | 'isClosed'>
  readonly nodeId: string
  /** Learns the terms of schedulers that ask for reports. */
  readonly fence: Pick<TermFence, 'latest' | 'heardOf'>
  /** Known only once the agent listens. */
  readonly url: () => string
  readonly accepting: () => boolean
  readonly cordon: () => Cordon | undefined
  readonly capacity: NonNullable<NodeReport['capacity']>
  readonly pool: string
  readonly labels: NodeLabels
  readonly cache: () => NonNullable<NodeReport['cache']>
  readonly all: () => InstanceReport[]
}

const aliveEveryMs = 1000
/** Of the reports that say that the node is alive, every so many tells everything. */
const fullEvery = 10

const spoken = headers()
spoken.set(protocolHeader, String(protocolVersion))

export class Reporter {
  readonly #deps: ReporterDeps
  readonly #epoch = randomUUID()
  /** As the readers know them, who keep what never changes of an instance. */
  readonly #told = new Map<string, InstanceReport>()
  readonly #changed = new Map<string, InstanceReport>()
  #ended: string[] = []
  #seq = 0
  #beats = 0
  #soon: NodeJS.Immediate | undefined
  #later: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #asked: Subscription[] = []

  constructor(deps: ReporterDeps) {
    this.#deps = deps
  }

  start(): void {
    const { connection, nodeId } = this.#deps
    this.#beatLater()
    this.#asked = [subjects.reportNow, subjects.nodeReportNow(nodeId)].map((subject) =>
      connection.subscribe(subject, { callback: (_error, message) => this.#asks(message.string()) }),
    )
    this.publishFull()
  }

  instanceChanged(report: InstanceReport): void {
    this.#changed.set(report.instanceId, report)
    if (isUrgent(report)) this.#publishSoon()
    else this.#publishLater()
  }

  invocationEnded(invocationId: string): void {
    this.#ended.push(invocationId)
    this.#publishLater()
  }

  /** Everything, at once: what changed is not an instance. */
  publishFull(): void {
    const all = this.#deps.all()
    // What ended is no longer in the table, but must be told once.
    const ended = [...this.#changed.values()].filter(({ state }) => state === 'ended')
    this.#told.clear()
    const { url, capacity, pool, labels } = this.#deps
    this.#publish({ full: true, url: url(), capacity, pool, labels, instances: [...all, ...ended] })
  }

  /** Last word: a full report, so that the schedulers need not wait for this node's silence. */
  stop(): void {
    clearTimeout(this.#timer)
    for (const subscription of this.#asked) subscription.unsubscribe()
    this.publishFull()
  }

  /** @param said the term of who asks, or nothing */
  #asks(said: string): void {
    const term = Number(said)
    if (Number.isSafeInteger(term) && term > 0) this.#deps.fence.heardOf(term)
    this.publishFull()
  }

  #publishSoon(): void {
    this.#soon ??= setImmediate(() => this.#publishChanges())
  }

  #publishLater(): void {
    this.#later ??= setTimeout(() => this.#publishChanges(), toldWithinMs)
  }

  /** Never quite regularly, so that nodes that began together do not all speak together. */
  #beatLater(): void {
    this.#timer = setTimeout(() => this.#beat(), aliveEveryMs * (0.9 + Math.random() / 5))
  }

  #beat(): void {
    this.#beatLater()
    if (++this.#beats % fullEvery === 0) return this.publishFull()
    const all = this.#deps.all()
    for (const report of all)
      if (differs(report, this.#told.get(report.instanceId))) this.#changed.set(report.instanceId, report)
    this.#publishChanges()
  }

  #publishChanges(): void {
    const reports = [...this.#changed.values()]
    this.#publish({
      full: false,
      instances: reports.filter(({ instanceId }) => !this.#told.has(instanceId)),
      changed: reports.filter(({ instanceId }) => this.#told.has(instanceId)).map(toChange),
    })
  }

  #publish(what: Pick<NodeReport, 'full' | 'url' | 'capacity' | 'pool' | 'labels' | 'instances' | 'changed'>): void {
    clearImmediate(this.#soon)
    clearTimeout(this.#later)
    this.#soon = this.#later = undefined
    const { connection, nodeId, fence, accepting, cache } = this.#deps
    const cordon = this.#deps.cordon()
    if (connection.isClosed()) return
    const report: NodeReport = {
      nodeId,
      epoch: this.#epoch,
      seq: this.#seq++,
      term: fence.latest,
      accepting: accepting(),
      ...(cordon ? { cordon } : {}),
      cache: cache(),
      ...what,
      endedInvocations: this.#ended,
    }
    for (const told of [...what.instances, ...this.#changed.values()])
      if (told.state === 'ended') this.#told.delete(told.instanceId)
      else this.#told.set(told.instanceId, told)
    this.#changed.clear()
    this.#ended = []
    connection.publish(subjects.nodeReport(nodeId), JSON.stringify(report), { headers: spoken })
  }
}

/** An end by keep-alive was a scheduler's own word. */
const isUrgent = ({ state, policy, keepAliveMs, reason }: InstanceReport): boolean =>
  (state === 'ended' && reason !== 'keep-alive') || !policy.reuse || keepAliveOf(policy, keepAliveMs) < briefMs

const toChange = ({ instanceId, state, inFlight, idleSince, keepAliveMs, reason }: InstanceReport): InstanceChange => ({
  instanceId,
  state,
  inFlight,
  ...(idleSince === undefined ? {} : { idleSince }),
  ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
  ...(reason === undefined ? {} : { reason }),
})

const differs = (report: InstanceReport, told: InstanceReport | undefined): boolean =>
  report.state === 'ended'
    ? told !== undefined
    : report.state !== told?.state ||
      report.inFlight !== told.inFlight ||
      report.idleSince !== told.idleSince ||
      report.keepAliveMs !== told.keepAliveMs
