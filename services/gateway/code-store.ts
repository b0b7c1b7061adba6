/** Zips and images in the object store, by digest. */
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { ObjectStore } from '@nats-io/obj'
import { PlatformError } from '../contracts/errors.ts'
import { imageObject, zipObject } from '../contracts/subjects.ts'

export interface CodeStore {
  /** Both are skipped when the object is there. */
  putZip(digest: string, zip: Buffer): Promise<void>
  putImage(digest: string, file: string): Promise<void>
  /** @throws PlatformError CODE_CORRUPT when it is gone. */
  openZip(digest: string): Promise<Readable>
  readZip(digest: string): Promise<Buffer>
}

export const createCodeStore = (store: ObjectStore): CodeStore => {
  const has = async (name: string): Promise<boolean> => {
    const info = await store.info(name)
    return info !== null && !info.deleted
  }
  const openZip = async (digest: string): Promise<Readable> => {
    const object = await store.get(zipObject(digest))
    if (!object) throw new PlatformError('CODE_CORRUPT', 'the code is not in the store', { digest })
    return Readable.fromWeb(object.data)
  }
  return {
    putZip: async (digest, zip) => {
      const name = zipObject(digest)
      if (!(await has(name))) await store.putBlob({ name }, zip)
    },
    putImage: async (digest, file) => {
      const name = imageObject(digest)
      if (await has(name)) return
      const stream = Readable.toWeb(createReadStream(file, { highWaterMark: 128 * 1024 }))
      await store.put({ name }, stream as never)
    },
    openZip,
    readZip: async (digest) => buffer(await openZip(digest)),
  }
}
