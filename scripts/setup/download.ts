/** Fetches a pinned archive. Nothing is kept that does not have the pinned checksum. */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/** Out of reach, slow, or not what was pinned; the caller goes on to the next way to get the tool. */
export class DownloadError extends Error {
  override readonly name = 'DownloadError'
}

/** @param connectTimeoutMs until the first byte of the answer; the body may take ten times as long. */
export const download = async (
  { url, sha256 }: { readonly url: string; readonly sha256: string },
  target: string,
  connectTimeoutMs = 10_000,
): Promise<void> => {
  const body = await fetchBytes(url, connectTimeoutMs)
  const found = createHash('sha256').update(body).digest('hex')
  if (found !== sha256) throw new DownloadError(`${url}: SHA-256 is ${found}, pinned is ${sha256}`)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, body)
}

const fetchBytes = async (url: string, connectTimeoutMs: number): Promise<Buffer> => {
  const connecting = new AbortController()
  const timer = setTimeout(() => connecting.abort(new Error('no answer in time')), connectTimeoutMs)
  try {
    const signal = AbortSignal.any([connecting.signal, AbortSignal.timeout(connectTimeoutMs * 10)])
    const response = await fetch(url, { signal })
    clearTimeout(timer)
    if (!response.ok) throw new DownloadError(`${url}: HTTP ${response.status}`)
    return Buffer.from(await response.arrayBuffer())
  } catch (error) {
    if (error instanceof DownloadError) throw error
    const reason =
      error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error)
    throw new DownloadError(`${url}: ${reason}`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}
