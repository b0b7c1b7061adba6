/**
 * Code images on this node, by digest: only one that is missing is fetched, from another node that has it, or else from the object store. Checked
 * before use, kept until space is needed.
 */
import { createHash, type Hash } from 'node:crypto'
import { createWriteStream, mkdirSync, readdirSync, statSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { ObjectStore } from '@nats-io/obj'
import { readAgain } from '../../chassis/read-again.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { revisionKey, type RevisionRef } from '../../contracts/placement.ts'
import { imageObject } from '../../contracts/subjects.ts'
import type { FileDigests } from '../file-digests.ts'
import type { CodeImageMetrics } from './code-image-metrics.ts'
import { fitsBudget, fitsDisk, toRemove, type StoredImage } from './disk-share.ts'
import { WrongBytes, type PeerCopies } from './peer-copies.ts'

export interface CodeImagesDeps {
  readonly dir: string
  readonly store: Pick<ObjectStore, 'get' | 'info'>
  readonly digests: FileDigests
  /** Beyond that, images that were not used for a while go. */
  readonly budgetBytes: number
  /** Absent: no other node is asked. */
  readonly peers?: Pick<PeerCopies, 'copy'> | undefined
  readonly metrics: Pick<CodeImageMetrics, 'uses' | 'bytes' | 'images' | 'heldBytes'>
}

/** `no-room`: not within the budget, or the disk is too full. `missing`: the store does not have it. */
export type Prefetched = 'here' | 'fetched' | 'no-room' | 'missing'

/** For one to send, with its length. */
export interface ImageFile {
  readonly bytes: number
  readonly stream: Readable
}

/** Well below what the node that asks waits for an answer. */
const waitedForMs = 500
/** Revisions whose code is known to be here, the latest ones. */
const maxRevisions = 512

const isFull = (error: unknown): boolean => error instanceof PlatformError && error.code === 'STORAGE_FULL'

export class CodeImages {
  readonly #deps: CodeImagesDeps
  readonly #pending = new Map<string, Promise<void>>()
  readonly #fromStoreNow = new Set<string>()
  readonly #here = new Map<string, StoredImage>()
  /** Revision -> digest, used longest ago first. */
  readonly #revisions = new Map<string, string>()
  #partials = 0

  constructor(deps: CodeImagesDeps) {
    this.#deps = deps
    mkdirSync(deps.dir, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(deps.dir).filter((each) => each.endsWith('.erofs'))) {
      const { size: bytes, mtimeMs: usedAt } = statSync(join(deps.dir, name))
      const digest = name.slice(0, -'.erofs'.length)
      this.#here.set(digest, { digest, bytes, usedAt })
    }
    this.#count()
  }

  /**
   * Path of the image, fetched when it is not here or is not what it was: one fetch for all who want it, but each looks at the file itself, as
   * somebody else's look may be from before it was changed. It stays for ten minutes at least.
   *
   * @param revision for which it is wanted
   * @throws PlatformError CODE_CORRUPT when the store's bytes do not have the digest; STORAGE_FULL; UNAVAILABLE when the store does
   * not answer for long.
   */
  async path(digest: string, revision?: RevisionRef): Promise<string> {
    if (revision) this.#noteRevision(revisionKey(revision), digest)
    const { digests, metrics } = this.#deps
    const file = this.#file(digest)
    if ((await digests.of(file)) === digest) {
      metrics.uses.inc({ source: 'here' })
      this.#used(digest, this.#here.get(digest)?.bytes ?? statSync(file).size)
      return file
    }
    let pending = this.#pending.get(digest)
    if (!pending) {
      pending = this.#obtain(digest, file).finally(() => this.#pending.delete(digest))
      this.#pending.set(digest, pending)
    }
    await pending
    return file
  }

  /** Fetches it for later, if there is room. @throws as `path` */
  async prefetch(digest: string, revision?: RevisionRef): Promise<Prefetched> {
    if (this.#here.has(digest) || this.#pending.has(digest)) {
      if (revision) this.#noteRevision(revisionKey(revision), digest)
      return 'here'
    }
    const { store, dir, budgetBytes } = this.#deps
    const info = await store.info(imageObject(digest))
    if (!info || info.deleted) return 'missing'
    if (!fitsBudget([...this.#here.values()], info.size, budgetBytes, Date.now())) return 'no-room'
    if (!(await fitsDisk(dir, info.size))) return 'no-room'
    const file = await this.path(digest, revision)
    // Read once more, so that the first start need not.
    await this.#deps.digests.of(file)
    return 'fetched'
  }

  /** Path of an image that is here and was checked. */
  known(digest: string): string | undefined {
    const file = this.#file(digest)
    return this.#deps.digests.known(file) === digest ? file : undefined
  }

  /** For another node, which checks it. One that comes from the store just now is waited for, a moment; two nodes never wait for each other. */
  async read(digest: string): Promise<ImageFile | undefined> {
    const coming = this.#fromStoreNow.has(digest) ? this.#pending.get(digest) : undefined
    if (coming) await Promise.race([coming.catch(() => undefined), delay(waitedForMs, undefined, { ref: false })])
    if (!this.#here.has(digest)) return undefined
    try {
      const handle = await open(this.#file(digest))
      const { size: bytes } = await handle.stat()
      // As long as was said, whatever becomes of the file.
      const stream = handle.createReadStream({ highWaterMark: 256 * 1024, ...(bytes > 0 ? { end: bytes - 1 } : {}) })
      return { bytes, stream }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Keys of revisions whose code is here, as far as they are known. */
  revisions(): string[] {
    return [...this.#revisions].filter(([, digest]) => this.#here.has(digest)).map(([key]) => key)
  }

  /** Removes what an interrupted fetch left. */
  async removePartial(): Promise<void> {
    const { dir } = this.#deps
    const partial = readdirSync(dir).filter((name) => name.endsWith('.partial'))
    await Promise.all(partial.map((name) => rm(join(dir, name), { force: true })))
  }

  #file(digest: string): string {
    return join(this.#deps.dir, `${digest}.erofs`)
  }

  #noteRevision(key: string, digest: string): void {
    this.#revisions.delete(key)
    this.#revisions.set(key, digest)
    const [oldest] = this.#revisions.keys()
    if (this.#revisions.size > maxRevisions && oldest !== undefined) this.#revisions.delete(oldest)
  }

  /** Takes the place of one that was cut short or flipped. Sandboxes that use that keep what they have open. */
  async #obtain(digest: string, file: string): Promise<void> {
    try {
      await this.#fetch(digest, file)
    } catch (error) {
      // What nobody uses makes room once.
      if (!isFull(error) || (await this.#trim(0)) === 0) throw error
      await this.#fetch(digest, file)
    }
    await this.#trim(this.#deps.budgetBytes)
  }

  async #fetch(digest: string, file: string): Promise<void> {
    const { peers, metrics } = this.#deps
    let bytes = 0
    const take = async (body: Readable): Promise<void> => void (bytes = await this.#receive(digest, file, body))
    const fromPeer = await peers?.copy(digest, take)
    const source = fromPeer ? 'peer' : 'store'
    if (!fromPeer) {
      this.#fromStoreNow.add(digest)
      try {
        await readAgain('the code image', async () => (bytes = await this.#fromStore(digest, file)))
      } finally {
        this.#fromStoreNow.delete(digest)
      }
    }
    metrics.uses.inc({ source })
    metrics.bytes.inc({ source }, bytes)
    this.#used(digest, bytes)
  }

  async #fromStore(digest: string, file: string): Promise<number> {
    const object = await this.#deps.store.get(imageObject(digest))
    if (!object) throw new PlatformError('CODE_CORRUPT', 'the code image is not in the store', { digest })
    try {
      return await this.#receive(digest, file, Readable.from(object.data), () => object.error)
    } catch (error) {
      if (!(error instanceof WrongBytes)) throw error
      throw new PlatformError('CODE_CORRUPT', 'the code image in the store does not have its digest', { digest })
    }
  }

  /**
   * The file is there, whole, with all bytes and the right ones, or not at all.
   *
   * @returns its length. @throws WrongBytes; PlatformError STORAGE_FULL
   */
  async #receive(
    digest: string,
    file: string,
    body: Readable,
    brokenBy: () => Promise<Error | null> = async () => null,
  ): Promise<number> {
    const partial = `${file}.${process.pid}.${this.#partials++}.partial`
    const hash = createHash('sha256')
    const counted = counting(hash)
    try {
      await pipeline(body, counted.stream, createWriteStream(partial, { mode: 0o644 }))
      const broken = await brokenBy()
      if (broken) throw broken
      if (hash.digest('hex') !== digest) throw new WrongBytes('the bytes do not have the digest')
      await rename(partial, file)
      return counted.bytes()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
        throw new PlatformError('STORAGE_FULL', 'no space left for the code image', { digest }, { cause: error })
      throw error
    } finally {
      await rm(partial, { force: true })
    }
  }

  #used(digest: string, bytes: number): void {
    const isNew = !this.#here.has(digest)
    this.#here.set(digest, { digest, bytes, usedAt: Date.now() })
    if (isNew) this.#count()
  }

  /** @returns how many went */
  async #trim(budgetBytes: number): Promise<number> {
    const unused = toRemove([...this.#here.values()], budgetBytes, Date.now())
    await Promise.all(unused.map(({ digest }) => this.#remove(digest)))
    return unused.length
  }

  async #remove(digest: string): Promise<void> {
    this.#here.delete(digest)
    this.#count()
    await rm(this.#file(digest), { force: true })
  }

  #count(): void {
    const { images, heldBytes } = this.#deps.metrics
    images.set(this.#here.size)
    heldBytes.set([...this.#here.values()].reduce((sum, { bytes }) => sum + bytes, 0))
  }
}

const counting = (hash: Hash) => {
  let bytes = 0
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    },
  })
  return { stream, bytes: () => bytes }
}
