/** What a node made ahead of its starts, as numbers: whatever its plan decided is there at once. */
import { revisionKey } from '../../services/contracts/placement.ts'
import type { RuntimeName, VersionConfig } from '../../services/contracts/function.ts'
import type { CachePlan, Holdings } from '../../services/node-agent/node-scheduler/cache/cache-plan.ts'
import type { LevelCosts, StartWay } from '../../services/node-agent/node-scheduler/cache/input.ts'

export class MadeAhead {
  readonly #prepared = { created: 0, parked: 0 }
  /** By revision: its seed, and how many forks of it wait. */
  readonly #forks = new Map<string, { parked: number }>()

  /** As `Holdings` has it. */
  get holdings(): Pick<Holdings, 'prepared' | 'forks'> {
    return {
      prepared: (kind) => this.#prepared[kind],
      forks: (config: VersionConfig) => {
        const held = this.#forks.get(revisionKey(config))
        return { parked: held?.parked ?? 0, hasSeed: held !== undefined }
      },
    }
  }

  /** Becomes what the plan last decided. */
  become(plan: CachePlan, runtime: RuntimeName): void {
    this.#prepared.created = plan.size('created', runtime)
    this.#prepared.parked = plan.size('parked', runtime)
    this.#forks.clear()
    for (const config of plan.seeded) this.#forks.set(revisionKey(config), { parked: plan.forksOf(config).parked })
  }

  /** The quickest start that there is for the revision; what it uses up is gone. */
  take(key: string): StartWay {
    const forks = this.#forks.get(key)
    if (forks && forks.parked > 0) {
      forks.parked--
      return 'fork-parked'
    }
    if (forks) return 'fork'
    for (const [kind, way] of [
      ['parked', 'restore-parked'],
      ['created', 'restore-precreated'],
    ] as const)
      if (this.#prepared[kind] > 0) {
        this.#prepared[kind]--
        return way
      }
    return 'restore'
  }

  heldMiB({ memoryMiB }: LevelCosts): number {
    let held = this.#prepared.created * memoryMiB.created + this.#prepared.parked * memoryMiB.parked
    for (const { parked } of this.#forks.values()) held += memoryMiB.seed + parked * memoryMiB.parkedFork
    return held
  }
}
