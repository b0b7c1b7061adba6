/** A scheduler's fleet and dispatcher over nodes that do what they are told, with a clock of the test's own. */
import { pino } from 'pino'
import { createMetrics } from '../../chassis/http-server.ts'
import type { FunctionClaim } from '../../contracts/claims.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { InstancePolicy } from '../../contracts/function.ts'
import type { InstanceReport, NodeReport, StartInstance } from '../../contracts/node.ts'
import type { Placement, PlacementRequest } from '../../contracts/placement.ts'
import type { ResourcePool } from '../../contracts/resource-pool.ts'
import { Dispatcher } from '../dispatcher.ts'
import { Fleet } from '../fleet.ts'
import { createSchedulerMetrics } from '../metrics.ts'

export interface NodeShape {
  readonly pool?: string
  readonly memoryMiB?: number
  readonly instances?: number
}

export interface Asked {
  readonly tenant?: string
  readonly name?: string
  readonly version?: string
  readonly memoryMiB?: number
  readonly policy?: Partial<InstancePolicy>
  readonly reservedConcurrency?: number
  readonly excludeNodes?: string[]
}

/** What became of a request so far. */
export interface Outcome {
  readonly id: string
  readonly asked: Asked
  placement: Placement | undefined
  error: PlatformError | undefined
}

const policy: InstancePolicy = { concurrency: 1, reuse: true, keepAliveMs: 60_000 }

export const needsOf = ({ tenant = 't', name = 'f', version = '1', memoryMiB = 128, policy: own = {} }: Asked) => ({
  revision: { tenant, name, version, revisionId: `r${version}` },
  runtime: 'nodejs24.x' as const,
  memoryMiB,
  policy: { ...policy, ...own },
})

export class Yard {
  readonly fleet: Fleet
  readonly dispatcher: Dispatcher
  readonly started: StartInstance[] = []
  readonly ended: string[] = []
  /** Starts fail with that. */
  failStarts: PlatformError | undefined
  now = 1_000_000
  #ids = 0
  readonly #seqs = new Map<string, number>()

  constructor(nodes: Readonly<Record<string, NodeShape>>, rules: readonly ResourcePool[] = []) {
    this.fleet = new Fleet(rules)
    const client = {
      start: async (_url: string, command: StartInstance) => {
        if (this.failStarts) throw this.failStarts
        this.started.push(command)
      },
      end: async (_url: string, instanceId: string) => void this.ended.push(instanceId),
      cordon: async () => undefined,
      forget: () => undefined,
      close: async () => undefined,
    }
    this.dispatcher = new Dispatcher({
      fleet: this.fleet,
      nodes: client,
      metrics: createSchedulerMetrics(createMetrics(), this.fleet),
      logger: pino({ level: 'silent' }),
      firstNodeWaitMs: 5_000,
      now: () => this.now,
    })
    for (const [nodeId, shape] of Object.entries(nodes)) this.join(nodeId, shape)
  }

  join(nodeId: string, { pool = 'default', memoryMiB = 1024, instances = 64 }: NodeShape = {}): void {
    this.report(nodeId, { full: true, url: `http://${nodeId}`, pool, capacity: { memoryMiB, instances, cpus: 2 } })
  }

  report(nodeId: string, over: Partial<NodeReport>): void {
    const seq = (this.#seqs.get(nodeId) ?? 0) + 1
    this.#seqs.set(nodeId, seq)
    const common = { nodeId, epoch: 'e', seq, full: false, accepting: true, instances: [], endedInvocations: [] }
    this.dispatcher.report({ ...common, ...over })
  }

  claim(claim: Omit<FunctionClaim, 'needs' | 'provisioned'> & Partial<FunctionClaim> & Asked): void {
    const { reservedConcurrency, provisioned = [] } = claim
    const { revision, ...needs } = needsOf(claim)
    const { tenant, name } = revision
    this.fleet.claim({
      needs: { ...needs, revision: { tenant, name } },
      ...(reservedConcurrency === undefined ? {} : { reservedConcurrency }),
      provisioned,
    })
    this.tick()
  }

  ask(asked: Asked = {}): Outcome {
    const id = `i${this.#ids++}`
    const outcome: Outcome = { id, asked, placement: undefined, error: undefined }
    const { reservedConcurrency, excludeNodes = [] } = asked
    const request: PlacementRequest = {
      ...needsOf(asked),
      ...(reservedConcurrency === undefined ? {} : { reservedConcurrency }),
      invocationId: id,
      startWish: 'auto',
      deadlineAt: this.now + 600_000,
      excludeNodes,
    }
    const placed = (placement: Placement) => void (outcome.placement = placement)
    const refused = (error: unknown) => void (outcome.error = error as PlatformError)
    try {
      const answer = this.dispatcher.place(request)
      if (answer instanceof Promise) void answer.then(placed, refused)
      else placed(answer)
    } catch (error) {
      refused(error)
    }
    return outcome
  }

  /** Nodes report everything that runs on them as it is: busy where an invocation holds a slot, idle otherwise. */
  settle(): void {
    for (const node of this.fleet.nodes()) {
      const instances: InstanceReport[] = []
      for (const pool of node.pools.values()) {
        let lent = pool.leases.length
        for (const { id, memoryMiB, policy: own } of pool.instances.values()) {
          const inFlight = Math.min(lent, own.concurrency)
          lent -= inFlight
          instances.push({
            instanceId: id,
            revision: pool.revision,
            memoryMiB,
            policy: own,
            state: inFlight > 0 ? 'busy' : 'idle',
            inFlight,
            ...(inFlight > 0 ? {} : { idleSince: this.now }),
          })
        }
      }
      this.report(node.id, { instances })
    }
  }

  /** The invocation ends; its gateway and then its node say so. */
  over({ id, placement }: Outcome): void {
    if (!placement) return
    this.dispatcher.over([id])
    this.settle()
  }

  tick(ms = 100): void {
    this.now += ms
    this.dispatcher.tick(60_000)
  }

  /** Promises that were settled are known. */
  async turn(): Promise<void> {
    for (let n = 0; n < 5; n++) await Promise.resolve()
  }

  instancesOf(tenant: string, name?: string): number {
    return this.all().filter(
      ({ pool: { revision } }) => revision.tenant === tenant && (name === undefined || revision.name === name),
    ).length
  }

  all() {
    return [...this.fleet.nodes()].flatMap((node) => [...node.instances.values()])
  }
}
