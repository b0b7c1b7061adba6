/** Code images on this node: fetched from the object store by digest, checked before use, kept until space is needed. */
import { createHash, type Hash } from 'node:crypto'
import { createWriteStream, mkdirSync, readdirSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ObjectStore } from '@nats-io/obj'
import { readAgain } from '../../chassis/read-again.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { imageObject } from '../../contracts/subjects.ts'
import type { FileDigests } from '../file-digests.ts'

const hashing = (hash: Hash) =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })

export class CodeImages {
  readonly #dir: string
  readonly #store: ObjectStore
  readonly #digests: FileDigests
  readonly #pending = new Map<string, Promise<void>>()

  constructor(dir: string, store: ObjectStore, digests: FileDigests) {
    this.#dir = dir
    this.#store = store
    this.#digests = digests
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  }

  /**
   * Path of the image, fetched when it is not here or is not what it was: one fetch for all who want it, but each looks at the file itself.
   * Somebody else's look may be from before it was changed.
   * @throws PlatformError CODE_CORRUPT when the store's bytes do not have the digest; STORAGE_FULL; UNAVAILABLE when the store does
   * not answer for long.
   */
  async path(digest: string): Promise<string> {
    const file = this.#file(digest)
    if ((await this.#digests.of(file)) === digest) return file
    let pending = this.#pending.get(digest)
    if (!pending) {
      // Takes the place of one that was cut short or flipped. Sandboxes that use that keep what they have open.
      pending = readAgain('the code image', () => this.#fetch(digest, file)).finally(() => this.#pending.delete(digest))
      this.#pending.set(digest, pending)
    }
    await pending
    return file
  }

  /** Path of an image that is here and was checked. */
  known(digest: string): string | undefined {
    const file = this.#file(digest)
    return this.#digests.known(file) === digest ? file : undefined
  }

  /** Removes what an interrupted fetch left. */
  async removePartial(): Promise<void> {
    const partial = readdirSync(this.#dir).filter((name) => name.endsWith('.partial'))
    await Promise.all(partial.map((name) => rm(join(this.#dir, name), { force: true })))
  }

  #file(digest: string): string {
    return join(this.#dir, `${digest}.erofs`)
  }

  async #fetch(digest: string, file: string): Promise<void> {
    const partial = `${file}.${process.pid}.partial`
    const hash = createHash('sha256')
    try {
      const object = await this.#store.get(imageObject(digest))
      if (!object) throw new PlatformError('CODE_CORRUPT', 'the code image is not in the store', { digest })
      await pipeline(Readable.from(object.data), hashing(hash), createWriteStream(partial, { mode: 0o644 }))
      const storeError = await object.error
      if (storeError) throw storeError
      if (hash.digest('hex') !== digest)
        throw new PlatformError('CODE_CORRUPT', 'the code image in the store does not have its digest', { digest })
      await rename(partial, file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
        throw new PlatformError('STORAGE_FULL', 'no space left for the code image', { digest }, { cause: error })
      throw error
    } finally {
      await rm(partial, { force: true })
    }
  }
}
