/** Streams an answer at the pace of its reader, with trailers; a reader that takes nothing for too long is closed. */
import type { ServerResponse } from 'node:http'

export interface StreamedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /** Bytes that are there already go out with the head, in one write. */
  readonly body: Uint8Array | AsyncIterable<Uint8Array>
  /** Names that `trailers` will give. Sent only where HTTP has them: chunked, HTTP/1.1. */
  readonly trailerNames?: readonly string[]
  /** Called once the body has ended. */
  readonly trailers?: () => Readonly<Record<string, string>>
  readonly stalledMs: number
}

/**
 * Resolves when the last byte is handed to the socket, or the client is gone. An error of `body` cuts the connection, since the
 * status is sent: the client sees that the answer is not whole. It is thrown then.
 */
export const sendStream = async (response: ServerResponse, answer: StreamedAnswer): Promise<void> => {
  const { status, headers, body, trailerNames = [], trailers, stalledMs } = answer
  const withTrailers = trailerNames.length > 0 && response.req.httpVersion === '1.1' && !('content-length' in headers)
  response.writeHead(status, {
    ...(headers as Record<string, string | string[]>),
    ...(withTrailers ? { trailer: trailerNames.join(', ') } : {}),
  })
  try {
    if (body instanceof Uint8Array) await writeSlices(response, body, stalledMs)
    else {
      response.flushHeaders()
      for await (const chunk of body) await writeSlices(response, chunk, stalledMs)
    }
    if (withTrailers && trailers) response.addTrailers({ ...trailers() })
    await ended(response, stalledMs)
  } catch (error) {
    response.destroy()
    throw error
  }
}

const sliceBytes = 64 * 1024

/** In slices, so that the time for one is the time for progress. */
const writeSlices = async (response: ServerResponse, bytes: Uint8Array, stalledMs: number): Promise<void> => {
  for (let at = 0; at < bytes.length && !response.destroyed; at += sliceBytes)
    if (!response.write(bytes.subarray(at, at + sliceBytes))) await waitFor(response, 'drain', stalledMs)
}

const ended = async (response: ServerResponse, stalledMs: number): Promise<void> => {
  if (response.destroyed) return
  const finished = waitFor(response, 'finish', stalledMs)
  response.end()
  await finished
}

/** Also resolves when the client goes away. */
const waitFor = (response: ServerResponse, event: 'drain' | 'finish', stalledMs: number): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      response.off(event, done).off('close', done)
      resolve()
    }
    const timer = setTimeout(() => response.destroy(), stalledMs)
    response.once(event, done).once('close', done)
  })
