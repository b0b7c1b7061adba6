/** What files hold, for those that must hold what they held when they were made. */
import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'

/** SHA-256, lower-case hex. */
export const fileDigest = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

/** Differs after every write, replacement and truncation: nobody can set a file's change time. Undefined: it is not there. */
const fingerprint = (path: string): string | undefined => {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat && [stat.dev, stat.ino, stat.size, stat.ctimeNs].join()
}

interface Known {
  readonly fingerprint: string
  readonly digest: string
}

/**
 * Digests of files that are used over and over: hashed once, and again when a file has changed since. So a use costs one look at the
 * file, and one that was damaged while the node runs is noticed at its next use.
 */
export class FileDigests {
  readonly #known = new Map<string, Known>()

  /** What was hashed before, if the file has not changed since. */
  known(path: string): string | undefined {
    const known = this.#known.get(path)
    return known?.fingerprint === fingerprint(path) ? known?.digest : undefined
  }

  /** Undefined when there is no such file. */
  async of(path: string): Promise<string | undefined> {
    const now = fingerprint(path)
    if (now === undefined) return undefined
    const known = this.#known.get(path)
    if (known?.fingerprint === now) return known.digest
    // Looked at before it is read: what is written meanwhile shows the next time.
    const digest = await fileDigest(path)
    this.#known.set(path, { fingerprint: now, digest })
    return digest
  }
}
