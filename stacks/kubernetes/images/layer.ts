/** Layers of OCI images: a directory as a tar file named by its digest. The same files give the same bytes. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../../scripts/setup/run.ts'
import { fileDigest } from '../../../services/node-agent/file-digests.ts'

export interface Blob {
  readonly mediaType: string
  /** `sha256:<hex>`. */
  readonly digest: string
  /** Bytes. */
  readonly size: number
}

export const blobPath = (store: string, digest: string): string => join(store, digest.replace(':', '-'))

/** Nothing of time, user or order is left in it. Uncompressed: it is stored once, and sent to few. */
export const packLayer = async (dir: string, store: string): Promise<Blob> => {
  mkdirSync(store, { recursive: true })
  const partial = join(store, `.partial-${process.pid}`)
  const steady = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu']
  try {
    await run('tar', [...steady, '-C', dir, '-cf', partial, '.'])
    const digest = `sha256:${await fileDigest(partial)}`
    const { size } = statSync(partial)
    if (!existsSync(blobPath(store, digest))) renameSync(partial, blobPath(store, digest))
    return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size }
  } finally {
    rmSync(partial, { force: true })
  }
}

export const storeJson = (mediaType: string, value: unknown, store: string): Blob => {
  const text = JSON.stringify(value)
  const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`
  const path = blobPath(store, digest)
  if (!existsSync(path)) {
    writeFileSync(`${path}.${process.pid}`, text)
    renameSync(`${path}.${process.pid}`, path)
  }
  return { mediaType, digest, size: Buffer.byteLength(text) }
}
