/** Of one runtime: created sandboxes and restored runtimes that wait for whichever function needs them first. */
import { IdleTimes, mostNeeded, needOf, prospect, type Prospect } from './history.ts'
import type { CacheInput, LevelDecision, RuntimeDecision, RuntimeInput } from './input.ts'
import { perCent } from './words.ts'
import { cpuPrice, horizonMs, worthOf, type Offer } from './worth.ts'

type Kind = 'parked' | 'created'

/** More than starts that run at the same time come in any burst; beyond that making ahead only moves the work. */
const mostAhead = 8
const wayOf = { parked: 'restore-parked', created: 'restore-precreated' } as const

export class RuntimeShare {
  readonly #input: RuntimeInput
  readonly #fixed: CacheInput['fixed']
  readonly #prospect: Prospect
  readonly #needs: readonly number[]
  readonly #count = { parked: 0, created: 0 }
  /** Of the last of each kind. */
  readonly #worth = { parked: 0, created: 0 }

  constructor(input: RuntimeInput, { now, fixed }: CacheInput) {
    this.#input = input
    this.#fixed = fixed
    const { history } = input
    this.#prospect = prospect(history, new IdleTimes(history), now, horizonMs)
    this.#needs = Array.from({ length: Math.min(mostAhead, mostNeeded(history)) }, (_, k) => needOf(history, k + 1))
  }

  /** What the next start takes that is no fork, ms. */
  get nextStartMs(): number {
    const { restorable, costs } = this.#input
    return restorable ? this.#latency(1, this.#count) : costs.latencyMs.boot
  }

  takeFixed(roomMiB: number): Pick<Offer, 'memoryMiB' | 'roomMiB'> {
    let taken = 0
    for (const kind of ['parked', 'created'] as const) {
      const each = this.#input.costs.memoryMiB[kind]
      if (!this.#input.restorable) continue
      this.#count[kind] = Math.max(0, Math.min(this.#fixed[kind] ?? 0, Math.floor((roomMiB - taken) / each)))
      taken += this.#count[kind] * each
    }
    return { memoryMiB: taken, roomMiB: taken }
  }

  offers(): Offer[] {
    if (!this.#input.restorable) return []
    return (['parked', 'created'] as const).flatMap((kind) => {
      if (this.#fixed[kind] !== undefined || this.#count.parked + this.#count.created >= this.#needs.length) return []
      const { costs, held } = this.#input
      const more = { ...this.#count, [kind]: this.#count[kind] + 1 }
      const made = more[kind] > held[kind] ? costs.cpuMs[kind] * cpuPrice : 0
      const memoryMiB = costs.memoryMiB[kind]
      const worth = worthOf(this.#loss(this.#count) - this.#loss(more) - made, memoryMiB, horizonMs)
      const take = (): void => {
        this.#count[kind]++
        this.#worth[kind] = worth
      }
      return { memoryMiB, roomMiB: memoryMiB, worth, take }
    })
  }

  decision(): RuntimeDecision {
    const { runtime } = this.#input
    return { runtime, created: this.#describe('created'), parked: this.#describe('parked') }
  }

  #describe(kind: Kind): LevelDecision {
    const count = this.#count[kind]
    if (!this.#input.restorable) return { count, reason: 'no checkpoint of the runtime is here' }
    if (this.#fixed[kind] !== undefined) return { count, reason: `${this.#fixed[kind]} by configuration` }
    const { memoryMiB, latencyMs } = this.#input.costs
    const saves = Math.round(latencyMs.restore - latencyMs[wayOf[kind]])
    const odds = `a start within ${horizonMs / 1000} s has odds of ${perCent(this.#prospect.likely)}`
    const each = `each saves ${saves} ms and holds ${Math.round(memoryMiB[kind])} MiB`
    const verdict = count > 0 ? `worth ${this.#worth[kind].toPrecision(2)} ms per MiB and second` : 'not worth more'
    return { count, reason: `${odds}, ${each}: ${verdict}` }
  }

  #latency(k: number, { parked, created }: Readonly<Record<Kind, number>>): number {
    const { latencyMs } = this.#input.costs
    if (k <= parked) return latencyMs['restore-parked']
    return k <= parked + created ? latencyMs['restore-precreated'] : latencyMs.restore
  }

  #loss(count: Readonly<Record<Kind, number>>): number {
    return this.#prospect.uses * this.#needs.reduce((sum, need, k) => sum + need * this.#latency(k + 1, count), 0)
  }
}
