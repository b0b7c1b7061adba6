import type { KV, KvEntry } from '@nats-io/kv'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Leadership, leaseMs } from './leadership.ts'

/** One key of a bucket whose entries live for `leaseMs`, and whose numbers grow. */
class Bucket {
  entry: { value: string; revision: number; at: number } | undefined
  revision = 0
  /** Of the next call, once it is carried out. */
  loseAnswer = false
  away = false

  readonly kv = {
    get: async () => {
      const entry = this.#live()
      return entry && ({ operation: 'PUT', revision: entry.revision, string: () => entry.value } as KvEntry)
    },
    create: async (_key: string, value: string) => this.#put(value, 0),
    update: async (_key: string, value: string, revision: number) => this.#put(value, revision),
    delete: async () => void (this.entry = undefined),
  } as unknown as KV

  #live() {
    if (this.away) throw new Error('TIMEOUT')
    if (this.entry && Date.now() - this.entry.at >= leaseMs) this.entry = undefined
    return this.entry
  }

  async #put(value: string, expected: number): Promise<number> {
    if ((this.#live()?.revision ?? 0) !== expected) throw new Error(`wrong last sequence: ${this.entry?.revision ?? 0}`)
    this.entry = { value, revision: ++this.revision, at: Date.now() }
    if (this.loseAnswer) {
      this.loseAnswer = false
      throw new Error('TIMEOUT')
    }
    return this.revision
  }
}

let bucket: Bucket
let connected: boolean
let events: string[]
const open: Leadership[] = []

/** As after kill -9: nothing of these runs is heard any more. */
const dead = new Set<string>()

const kvOf = (run: string): KV =>
  new Proxy(bucket.kv, {
    get: (kv, method) => (dead.has(run) ? () => new Promise(() => undefined) : (Reflect.get(kv, method) as unknown)),
  })

const scheduler = (id: string, run = id, latestTerm = () => 0): Leadership => {
  const leadership = new Leadership({
    kv: kvOf(run),
    id,
    run,
    logger: pino({ level: 'silent' }),
    connected: () => connected,
    latestTerm,
    onGain: (term) => events.push(`${run} gains ${term}`),
    onLoss: () => events.push(`${run} loses`),
    now: () => Date.now(),
  })
  leadership.start()
  open.push(leadership)
  return leadership
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

beforeEach(() => {
  vi.useFakeTimers()
  bucket = new Bucket()
  connected = true
  events = []
  dead.clear()
})

afterEach(async () => {
  dead.clear()
  await Promise.all(open.splice(0).map(async (each) => each.close()))
  vi.useRealTimers()
})

describe('leadership', () => {
  it('is one scheduler’s, as long as it lives', async () => {
    const a = scheduler('a')
    await pass(10)
    const b = scheduler('b')
    await pass(60_000)
    expect([a.term, b.term]).toEqual([1, undefined])
    expect(events).toEqual(['a gains 1'])
  })

  it('goes over to another within its lease and a moment, under a higher term', async () => {
    const a = scheduler('a')
    await pass(10)
    const b = scheduler('b')
    const before = a.term ?? 0
    dead.add('a')
    await pass(leaseMs + 1_000)
    expect(b.term).toBeGreaterThan(before)
  })

  it('is given up at the end, and taken at the next try', async () => {
    const a = scheduler('a')
    await pass(10)
    const b = scheduler('b')
    await a.close()
    await pass(800)
    expect([a.term, b.term !== undefined]).toEqual([undefined, true])
  })

  it('of a scheduler that stood still is over before it says anything', async () => {
    const a = scheduler('a')
    await pass(10)
    expect(a.term).toBe(1)
    // SIGSTOP: the clock goes on, timers do not.
    vi.setSystemTime(Date.now() + 30_000)
    expect(a.term).toBeUndefined()
  })

  it('goes on while NATS is away: nobody can take it', async () => {
    const a = scheduler('a')
    await pass(10)
    connected = false
    bucket.away = true
    await pass(60_000)
    expect(a.term).toBe(1)
    bucket.away = false
    connected = true
    await pass(2_000)
    expect(a.term).toBeGreaterThan(1)
  })

  it('ends when somebody tells of a later term, though NATS is away', async () => {
    let latest = 0
    const a = scheduler('a', 'a', () => latest)
    await pass(10)
    connected = false
    bucket.away = true
    latest = 9
    expect(a.term).toBeUndefined()
    await pass(1_000)
    expect(events).toEqual(['a gains 1', 'a loses'])
  })

  it('is kept when only the answer to a renewal was lost', async () => {
    const a = scheduler('a')
    await pass(10)
    bucket.loseAnswer = true
    await pass(10_000)
    expect(a.term).toBe(1)
    expect(events).toEqual(['a gains 1'])
  })

  it('is taken over at once by the next run of the same scheduler, under a higher term', async () => {
    scheduler('a', 'a-1')
    await pass(10)
    dead.add('a-1')
    const next = scheduler('a', 'a-2')
    await pass(10)
    expect(next.term).toBe(2)
    await pass(10_000)
    expect(next.term).toBe(2)
  })

  it('goes on from the terms that nodes know when the bucket was lost', async () => {
    const a = scheduler('a', 'a', () => (events.length === 0 ? 41 : 0))
    await pass(10)
    expect(a.term).toBe(42)
  })
})
