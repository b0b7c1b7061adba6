/**
 * Which invocations this node ran, on disk before they run: a killed agent loses none, and the stream's
 * one-message-per-subject rule doubles none (docs/decisions/0020). Files `usage-<n>.log`, one line an entry:
 * CRC-32 in hex, blank, JSON. A line that does not check out (torn by a crash) is ignored.
 */
import {
  closeSync,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { PlatformError } from '../../contracts/errors.ts'
import type { UsageRecord } from '../../contracts/usage.ts'

/** What is known when an instance pulls the request. */
export type UsageStart = Omit<UsageRecord, 'outcome' | 'billedMs'>

type Entry =
  | { readonly at: number; readonly start: UsageStart }
  | { readonly at: number; readonly end: UsageRecord }
  /** Sign of life while invocations run: bounds what a lost one is billed. */
  | { readonly at: number }

export interface UsageJournalOptions {
  readonly dir: string
  readonly now?: () => number
  readonly segmentBytes?: number
  /** Records not yet acknowledged by the stream; above it nothing new is accepted. */
  readonly maxUnacknowledged?: number
  /** How long written lines may wait for one fdatasync together. */
  readonly syncDelayMs?: number
}

interface Segment {
  readonly path: string
  /** Invocations that began here and are not acknowledged. */
  open: number
}

const keyOf = (record: { readonly invocationId: string; readonly attempt: number }): string =>
  `${record.invocationId}.${record.attempt}`

export class UsageJournal {
  readonly #options: Required<UsageJournalOptions>
  readonly #segments: Segment[] = []
  readonly #startedIn = new Map<string, Segment>()
  #running = 0
  #fd = -1
  #size = 0
  #next: number
  #sync: NodeJS.Timeout | undefined
  readonly #pulse: NodeJS.Timeout
  #problem: string | undefined
  /** Records of the run before this one; hand them to the publisher. */
  readonly replayed: readonly UsageRecord[]

  constructor(options: UsageJournalOptions) {
    this.#options = {
      now: Date.now,
      segmentBytes: 4 * 1024 * 1024,
      maxUnacknowledged: 100_000,
      syncDelayMs: 5,
      ...options,
    }
    mkdirSync(options.dir, { recursive: true, mode: 0o700 })
    const old = readdirSync(options.dir)
      .flatMap((name) => /^usage-(\d+)\.log$/.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b)
    this.#next = (old.at(-1) ?? 0) + 1
    this.replayed = this.#replay(old)
    this.#rotate()
    this.#pulse = setInterval(() => this.#beat(), 1000)
    this.#pulse.unref()
  }

  /** Why no invocation may begin, or nothing. */
  get problem(): string | undefined {
    if (this.#problem) return this.#problem
    return this.#startedIn.size >= this.#options.maxUnacknowledged
      ? `${this.#startedIn.size} usage records are not acknowledged (limit ${this.#options.maxUnacknowledged})`
      : undefined
  }

  /** On disk (page cache) when it returns. @throws PlatformError STORAGE_FULL: the invocation must not run. */
  begin(start: UsageStart): void {
    const reason = this.#startedIn.size >= this.#options.maxUnacknowledged ? this.problem : undefined
    if (reason !== undefined || !this.#append({ at: this.#options.now(), start }))
      throw new PlatformError('STORAGE_FULL', `the invocation cannot be recorded: ${this.problem}`)
    const segment = this.#segments.at(-1)
    if (!segment) throw new PlatformError('INTERNAL', 'the usage journal has no segment')
    segment.open++
    this.#startedIn.set(keyOf(start), segment)
    this.#running++
  }

  /** An end that finds no room still goes to the stream; only a crash before that makes it a `lost`. */
  end(record: UsageRecord): void {
    this.#running--
    this.#append({ at: this.#options.now(), end: record })
  }

  /** The stream has the record. Whole segments go, oldest first, so that no end is ever removed before its start. */
  acknowledged(record: UsageRecord): void {
    const segment = this.#startedIn.get(keyOf(record))
    if (!segment) return
    this.#startedIn.delete(keyOf(record))
    segment.open--
    while (this.#segments.length > 1 && this.#segments[0]?.open === 0) {
      const [gone] = this.#segments.splice(0, 1)
      if (gone) rmSync(gone.path, { force: true })
    }
  }

  close(): void {
    clearInterval(this.#pulse)
    clearTimeout(this.#sync)
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  #append(entry: Entry): boolean {
    const json = JSON.stringify(entry)
    const line = Buffer.from(`${crc32(json).toString(16).padStart(8, '0')} ${json}\n`)
    try {
      if (this.#size > 0 && this.#size + line.length > this.#options.segmentBytes) this.#rotate()
      let written = 0
      while (written < line.length) written += writeSync(this.#fd, line, written)
      this.#size += line.length
    } catch (error) {
      this.#problem = `the usage journal cannot be written: ${error instanceof Error ? error.message : String(error)}`
      this.#dropTornTail()
      return false
    }
    this.#problem = undefined
    this.#syncSoon()
    return true
  }

  /** Half a line must not swallow the next one. */
  #dropTornTail(): void {
    try {
      ftruncateSync(this.#fd, this.#size)
    } catch {
      // Appending goes on behind a newline-less rest: the reader drops that one line, and `begin` refuses until a write succeeds.
    }
  }

  #syncSoon(): void {
    this.#sync ??= setTimeout(() => {
      this.#sync = undefined
      fdatasync(this.#fd, (error) => {
        if (error && error.code !== 'EBADF') this.#problem = `the usage journal cannot be synced: ${error.message}`
      })
    }, this.#options.syncDelayMs)
  }

  #beat(): void {
    if (this.#running > 0 || this.#problem !== undefined) this.#append({ at: this.#options.now() })
  }

  #rotate(): void {
    const path = join(this.#options.dir, `usage-${this.#next}.log`)
    const fd = openSync(path, 'a', 0o600)
    this.#next++
    const before = this.#fd
    this.#fd = fd
    this.#size = 0
    this.#segments.push({ path, open: 0 })
    if (before >= 0) fdatasync(before, () => closeSync(before))
  }

  #replay(numbers: readonly number[]): UsageRecord[] {
    const starts = new Map<string, UsageStart>()
    const ends = new Map<string, UsageRecord>()
    let lastSign = 0
    for (const number of numbers) {
      const path = join(this.#options.dir, `usage-${number}.log`)
      const segment: Segment = { path, open: 0 }
      this.#segments.push(segment)
      for (const entry of readEntries(readFileSync(path, 'utf8'))) {
        lastSign = Math.max(lastSign, entry.at)
        const record = 'start' in entry ? entry.start : 'end' in entry ? entry.end : undefined
        if (!record) continue
        if ('start' in entry) starts.set(keyOf(record), entry.start)
        if ('end' in entry) ends.set(keyOf(record), entry.end)
        if (this.#startedIn.has(keyOf(record))) continue
        this.#startedIn.set(keyOf(record), segment)
        segment.open++
      }
    }
    const lost = [...starts]
      .filter(([key]) => !ends.has(key))
      .map(([, start]): UsageRecord => ({
        ...start,
        outcome: 'lost',
        billedMs: Math.max(0, Math.ceil(lastSign - start.startedAt)),
      }))
    return [...ends.values(), ...lost]
  }
}

const readEntries = (text: string): Entry[] =>
  text.split('\n').flatMap((line) => {
    const json = line.slice(9)
    if (line.length < 10 || Number.parseInt(line.slice(0, 8), 16) !== crc32(json)) return []
    return [JSON.parse(json) as Entry]
  })
