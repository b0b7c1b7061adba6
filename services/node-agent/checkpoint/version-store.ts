/**
 * Checkpoints of versions on the node's disk: `<dir>/<key>/` with gVisor's files and a manifest, published by one rename, and entered in the
 * index, without which none is used. What is in `<dir>/.save-*` was not finished, and goes when an agent starts.
 */
import { chmodSync, mkdirSync, readdirSync, renameSync, statSync, utimesSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { RevisionRef } from '../../contracts/placement.ts'
import { FileDigests } from '../file-digests.ts'
import type { CheckpointIndex } from './checkpoint-index.ts'
import { damagedFile, readManifest, writeManifest } from './manifest.ts'

const About = Type.Object({
  /** The revision to which it belongs; no other is ever started from it. */
  revision: RevisionRef,
  /** What its function's initialisation took. */
  initMs: Type.Number(),
})
export type About = Static<typeof About>

export interface StoredCheckpoint extends About {
  readonly key: string
  readonly directory: string
  readonly bytes: number
  /** Epoch milliseconds. */
  readonly usedAt: number
}

const unfinished = '.save-'

const bytesIn = (directory: string): number =>
  readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)

export class VersionStore {
  readonly #dir: string
  readonly #index: CheckpointIndex
  /** By key: what was hashed in this run of the agent, while it has not changed. */
  readonly #digests = new Map<string, FileDigests>()
  #saves = 0

  constructor(dir: string, index: CheckpointIndex) {
    this.#dir = dir
    this.#index = index
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  }

  /** Removes what killed agents left. Call before anything is made. */
  async removeUnfinished(): Promise<void> {
    const left = readdirSync(this.#dir).filter((name) => name.startsWith(unfinished))
    await Promise.all(left.map((name) => rm(join(this.#dir, name), { recursive: true, force: true })))
  }

  /** What is there by its manifest; digests of other files are `check`'s. What this node did not make is left out. */
  list(): StoredCheckpoint[] {
    return readdirSync(this.#dir)
      .filter((name) => !name.startsWith(unfinished))
      .flatMap((key) => this.#read(key) ?? [])
  }

  /** Of this key, if it is what this node made last under it; what is not is removed. */
  async check(key: string): Promise<'missing' | 'damaged' | StoredCheckpoint> {
    if (!readdirSync(this.#dir).includes(key)) return 'missing'
    const problem = await this.problem(key)
    const stored = problem === undefined ? this.#read(key) : undefined
    if (stored) return stored
    await this.remove(key)
    return 'damaged'
  }

  /** Why it must not be used now. Costs a look at each file once all were hashed. */
  problem(key: string): Promise<string | undefined> {
    const digests = this.#digests.get(key) ?? new FileDigests()
    this.#digests.set(key, digests)
    const expected = { key, digest: this.#index.digest(key) }
    return damagedFile(join(this.#dir, key), expected, (path) => digests.of(path))
  }

  /** `make` fills a directory, which is published under the key; nothing of it is left when that fails. */
  async publish(key: string, make: (directory: string) => Promise<About>): Promise<StoredCheckpoint> {
    const scratch = join(this.#dir, `${unfinished}${process.pid}-${this.#saves++}`)
    mkdirSync(scratch, { mode: 0o700 })
    try {
      const digest = await writeManifest(scratch, { ...(await make(scratch)), key })
      for (const name of readdirSync(scratch)) chmodSync(join(scratch, name), 0o600)
      await this.remove(key)
      renameSync(scratch, join(this.#dir, key))
      this.#index.set(key, digest)
      // Hashed here, so that no start has to.
      await this.problem(key)
    } finally {
      await rm(scratch, { recursive: true, force: true })
    }
    const stored = this.#read(key)
    if (!stored) throw new Error('the checkpoint that was just made cannot be read')
    return stored
  }

  used(key: string): void {
    const now = new Date()
    utimesSync(join(this.#dir, key), now, now)
  }

  async remove(key: string): Promise<void> {
    this.#index.delete(key)
    this.#digests.delete(key)
    await rm(join(this.#dir, key), { recursive: true, force: true })
  }

  /** What is no checkpoint at all: nobody will ever ask for it. */
  async removeUnreadable(): Promise<void> {
    const known = new Set(this.list().map(({ key }) => key))
    const others = readdirSync(this.#dir).filter((name) => !name.startsWith(unfinished) && !known.has(name))
    await Promise.all(others.map((name) => this.remove(name)))
    for (const key of this.#index.keys()) if (!known.has(key)) this.#index.delete(key)
  }

  #read(key: string): StoredCheckpoint | undefined {
    const directory = join(this.#dir, key)
    try {
      const { revision, initMs } = Value.Parse(About, readManifest(directory, this.#index.digest(key)))
      const usedAt = statSync(directory).mtimeMs
      return { revision, initMs, key, directory, bytes: bytesIn(directory), usedAt }
    } catch {
      return undefined
    }
  }
}
