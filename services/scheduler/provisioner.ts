/** Keeps the instances of provisioned versions: starts what is missing, again when one has died, and tells how far it is. */
import { randomUUID } from 'node:crypto'
import type { ProvisionedClaim, ProvisionedState } from '../contracts/claims.ts'
import type { StartInstance } from '../contracts/node.ts'
import { revisionKey, type PlacementRequest, type RevisionRef } from '../contracts/placement.ts'
import type { Fleet } from './fleet.ts'
import type { NodeCommands } from './node-commands.ts'
import { start } from './place.ts'
import type { Instance } from './pool.ts'
import { poolFor, whyNoPool } from '../contracts/pool-assignment.ts'

/** Of all provisioned versions together, for each open node: requests' own starts are not to wait behind them. */
const startsPerNode = 2
/** Until the next try after one that failed; twice that after the next, at most `mostBackoffMs`. */
const backoffMs = 1_000
const mostBackoffMs = 60_000

interface Keeping {
  failures: number
  /** Epoch milliseconds. */
  notBefore: number
  problem: string | undefined
}

interface Starting {
  readonly instance: Instance
  readonly keeping: Keeping
}

export class Provisioner {
  readonly #fleet: Fleet
  readonly #commands: Pick<NodeCommands, 'start'>
  readonly #keeping = new Map<string, Keeping>()
  #starting: Starting[] = []

  constructor(fleet: Fleet, commands: Pick<NodeCommands, 'start'>) {
    this.#fleet = fleet
    this.#commands = commands
  }

  /** @param now epoch milliseconds */
  tick(now: number): void {
    const { provisioned } = this.#fleet.view
    this.#settle(now)
    const keys = new Set<string>()
    for (const claim of provisioned.all()) {
      keys.add(revisionKey(claim.needs.revision))
      this.#keep(claim, now)
    }
    for (const key of this.#keeping.keys()) if (!keys.has(key)) this.#keeping.delete(key)
  }

  state(revision: RevisionRef): ProvisionedState {
    const claimed = this.#fleet.view.provisioned.concurrencyOf(revision)
    const problem = this.#keeping.get(revisionKey(revision))?.problem
    let [ready, all] = [0, 0]
    for (const { slots, startingSlots } of this.#fleet.poolsOf(revision)) {
      ready += slots - startingSlots
      all += slots
    }
    return {
      available: Math.min(claimed, ready),
      allocated: Math.min(claimed, all),
      ...(problem === undefined ? {} : { problem }),
    }
  }

  /** Starts that came to something or to nothing. */
  #settle(now: number): void {
    this.#starting = this.#starting.filter(({ instance, keeping }) => {
      const alive = instance.pool.instances.get(instance.id) === instance
      if (alive && instance.state === 'starting') return true
      if (alive) Object.assign(keeping, { failures: 0, notBefore: 0, problem: undefined })
      else failed(keeping, now, 'an instance ended before it was initialised')
      return false
    })
  }

  #keep({ needs }: ProvisionedClaim, now: number): void {
    const { view } = this.#fleet
    const key = revisionKey(needs.revision)
    const keeping = this.#keeping.get(key) ?? { failures: 0, notBefore: 0, problem: undefined }
    this.#keeping.set(key, keeping)
    const request: PlacementRequest = {
      ...needs,
      invocationId: '',
      startWish: 'auto',
      deadlineAt: now,
      excludeNodes: [],
    }
    const inPool = poolFor(view.rules, request)
    if (now < keeping.notBefore) return
    if (inPool === undefined) return failed(keeping, now, whyNoPool(view.rules, request))
    let missing = view.provisioned.wantedOf(needs.revision) - view.instancesOf(needs.revision)
    for (; missing > 0 && this.#mayStart(); missing--) {
      const decision = start(view, inPool, request, now, 'provisioned')
      if (decision.kind !== 'start') return failed(keeping, now, decision.reason)
      const { node, end } = decision
      const { revision, runtime, memoryMiB, policy } = needs
      const instanceId = randomUUID()
      const command: StartInstance = {
        instanceId,
        revision,
        runtime,
        memoryMiB,
        policy,
        startWish: 'auto',
        provisioned: true,
      }
      for (const instance of end) this.#fleet.drop(instance)
      const instance = this.#fleet.book(node, command).instances.get(instanceId)
      if (instance) this.#starting.push({ instance, keeping })
      void this.#commands.start(node, command, end)
    }
  }

  #mayStart(): boolean {
    return this.#starting.length < startsPerNode * this.#fleet.openNodes
  }
}

const failed = (keeping: Keeping, now: number, problem: string): void => {
  keeping.notBefore = now + Math.min(mostBackoffMs, backoffMs * 2 ** keeping.failures)
  keeping.failures++
  keeping.problem = problem
}
