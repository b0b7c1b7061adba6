/** The body in `aws-chunked` framing: `SIZE;chunk-signature=...\r\nBYTES\r\n` until size 0. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html */

/** The frame is broken, or ends early. */
export class ChunkError extends Error {
  override readonly name = 'ChunkError'
}

const longestHead = 1024
const lineEnd = Buffer.from('\r\n')

/** Yields the bytes alone; signatures and trailers are the sender's affair. @throws ChunkError */
export async function* decodeAwsChunked(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let seen: Buffer = Buffer.alloc(0)
  /** Of the chunk at hand; -1: its head comes next. */
  let left = -1
  let ended = false
  for await (const part of source) {
    if (ended) continue
    seen = seen.length === 0 ? part : Buffer.concat([seen, part])
    for (;;) {
      if (left < 0) {
        const at = seen.indexOf(lineEnd)
        if (at < 0) {
          if (seen.length > longestHead) throw new ChunkError('the head of a chunk is too long')
          break
        }
        const size = /^([0-9a-fA-F]{1,8})(;.*)?$/.exec(seen.toString('latin1', 0, at))?.[1]
        if (size === undefined) throw new ChunkError('this is no head of a chunk')
        left = Number.parseInt(size, 16)
        seen = seen.subarray(at + lineEnd.length)
        // Trailers follow, which nobody reads.
        if (left === 0) ended = true
        if (ended) break
        continue
      }
      if (left > 0) {
        const bytes = seen.subarray(0, left)
        if (bytes.length === 0) break
        left -= bytes.length
        seen = seen.subarray(bytes.length)
        yield bytes
        continue
      }
      if (seen.length < lineEnd.length) break
      if (!seen.subarray(0, lineEnd.length).equals(lineEnd))
        throw new ChunkError('a chunk is longer than its head says')
      seen = seen.subarray(lineEnd.length)
      left = -1
    }
  }
  if (!ended) throw new ChunkError('the chunks end early')
}
