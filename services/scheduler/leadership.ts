/**
 * Which of the schedulers leads: the one whose entry is in a KV bucket whose entries live for a few seconds. Its term is the number under which
 * the entry was made; terms only grow. A leader that stood still, or that others have replaced, notices by the clock before it answers; what
 * it said before is refused by whoever knows a later term.
 */
import type { KV } from '@nats-io/kv'
import type { Logger } from '../chassis/log.ts'

export interface LeadershipDeps {
  readonly kv: Pick<KV, 'create' | 'get' | 'update' | 'delete'>
  /** Unique among schedulers. One that starts anew under the same id takes over from its last run at once. */
  readonly id: string
  /** Of this run. */
  readonly run: string
  readonly logger: Logger
  /** Whether NATS can be reached, as far as is known. */
  readonly connected: () => boolean
  /** The latest term that anybody told of; after a loss of the bucket terms go on from there. */
  readonly latestTerm: () => number
  readonly onGain: (term: number) => void
  readonly onLoss: () => void
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

/** How long an entry lives that is not renewed; the bucket is made with it. */
export const leaseMs = 3_000
export const renewEveryMs = 750
const answerWithinMs = 1_000

const key = 'leader'

interface Held {
  readonly term: number
  /** Number of the entry. */
  revision: number
  /** By the own clock, from before the entry was asked for. */
  until: number
}

export class Leadership {
  readonly #deps: LeadershipDeps
  readonly #now: () => number
  #held: Held | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(deps: LeadershipDeps) {
    this.#deps = deps
    this.#now = deps.now ?? (() => performance.now())
  }

  /**
   * The own term while this process may answer. While NATS is away the leader goes on beyond its lease: nobody can replace it there, and if
   * somebody was replaced before, terms tell. After standing still it does not: NATS seems to be there then.
   */
  get term(): number | undefined {
    const held = this.#held
    if (!held || this.#deps.latestTerm() > held.term) return undefined
    return this.#now() < held.until || !this.#deps.connected() ? held.term : undefined
  }

  start(): void {
    void this.#run()
  }

  /** Somebody told of a later term: whoever leads, it is not this process. */
  heardOf(term: number): void {
    if (this.#held && term > this.#held.term) this.#lose('a later term')
  }

  /** Makes room for the next one at once. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    const held = this.#held
    if (!held) return
    this.#lose('the process ends')
    await this.#deps.kv.delete(key, { previousSeq: held.revision }).catch(() => undefined)
  }

  async #run(): Promise<void> {
    this.heardOf(this.#deps.latestTerm())
    if (this.#held) await this.#renew(this.#held)
    if (!this.#held) await this.#tryToGain()
    if (!this.#closed) this.#timer = setTimeout(() => void this.#run(), renewEveryMs)
  }

  async #tryToGain(): Promise<void> {
    const from = this.#now()
    const { latestTerm, onGain, logger } = this.#deps
    try {
      const revision = await within(this.#enter())
      if (this.#closed) return
      const term = Math.max(revision, latestTerm() + 1)
      this.#held = { term, revision, until: from + leaseMs }
      logger.info({ term }, 'leading')
      onGain(term)
    } catch {
      // Somebody else leads, or NATS is away: the next try tells.
    }
  }

  /** @returns the entry's number. @throws when it is another's */
  async #enter(): Promise<number> {
    const { kv } = this.#deps
    const entry = await kv.get(key)
    if (entry?.operation === 'PUT' && parse(entry.string()).id === this.#deps.id)
      return kv.update(key, this.#value, entry.revision)
    return kv.create(key, this.#value)
  }

  async #renew(held: Held): Promise<void> {
    const from = this.#now()
    try {
      held.revision = await within(this.#update(held.revision))
      held.until = from + leaseMs
    } catch (error) {
      // Without an answer it may be renewed or not; by the clock it is over in any case.
      const over = error instanceof Replaced || this.#now() >= held.until
      if (over && this.#held && this.#deps.connected()) this.#lose(String(error))
    }
  }

  /** An answer of before may have been lost: the entry is this run's, and has another number. @throws Replaced */
  async #update(revision: number): Promise<number> {
    const { kv } = this.#deps
    try {
      return await kv.update(key, this.#value, revision)
    } catch (error) {
      if (!/wrong last sequence/i.test(String(error))) throw error
      const entry = await kv.get(key)
      if (entry?.operation === 'PUT' && entry.string() === this.#value)
        return kv.update(key, this.#value, entry.revision)
      throw new Replaced('the entry is gone, or another scheduler has it')
    }
  }

  get #value(): string {
    const { id, run } = this.#deps
    return JSON.stringify({ id, run })
  }

  #lose(why: string): void {
    this.#held = undefined
    this.#deps.logger.warn({ why }, 'leading no more')
    this.#deps.onLoss()
  }
}

class Replaced extends Error {}

const parse = (text: string): { readonly id?: string } => {
  try {
    return JSON.parse(text) as { id?: string }
  } catch {
    return {}
  }
}

const within = async <T>(answer: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('no answer from NATS')), answerWithinMs)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
