/** One invocation on this node: waits in the buffer, is pulled by one instance, is answered once. */
import type { Readable } from 'node:stream'
import { PlatformError } from '../../contracts/errors.ts'
import type { RevisionRef } from '../../contracts/placement.ts'
import type { InvocationReport } from '../../contracts/usage.ts'

export interface InvocationRequest {
  readonly invocationId: string
  readonly attempt: number
  readonly revision: RevisionRef
  /** Epoch milliseconds. */
  readonly deadlineAt: number
  readonly timeoutMs: number
  readonly kind: 'event' | 'http'
  readonly responseMode: 'buffered' | 'stream'
  /** Only the instance that was started for it may take it. */
  readonly forced: boolean
  /** Only an instance that can pull it at once may take it. */
  readonly ifIdle: boolean
  readonly functionArn: string
  readonly clientContext: string | undefined
  readonly traceparent: string | undefined
  /** The gateway's word of whose invocation it is (`contracts/calls.ts`). Absent: of a gateway that gives none. */
  readonly ticket: string | undefined
  /** Declared length of the body, or the most that it may have. */
  readonly bodyBytes: number
  readonly body: Readable
  /** Its last bytes come when they are asked for, once an instance takes the request. Absent: all of it is on its way. */
  readonly askForRest?: (() => void) | undefined
}

/** What the caller of this hop is told. Exactly one of `complete`, `finish` and `fail` is called, once. */
export interface AnswerSink {
  /** A whole answer. `functionError` marks the body as a function error. */
  complete(body: Buffer, contentType: string, report: InvocationReport, functionError?: string): void
  /** First bytes of a streamed answer; `write` waits for a slow reader. */
  open(contentType: string): void
  write(bytes: Buffer): Promise<void>
  finish(report: InvocationReport, functionError?: string): void
  fail(error: PlatformError): void
}

/** Payload of a Lambda event, and of an HTTP request that becomes one. */
export const maxEventBytes = 6 * 1024 * 1024

/** @throws PlatformError REQUEST_TOO_LARGE naming the limit; INVALID_REQUEST when the sender goes away. */
export const readBody = async (body: Readable, limit: number, name: string): Promise<Buffer> => {
  const parts: Buffer[] = []
  let size = 0
  try {
    for await (const part of body as AsyncIterable<Buffer>) {
      size += part.length
      if (size > limit)
        throw new PlatformError('REQUEST_TOO_LARGE', `the body is over ${limit} bytes`, { limit: name, bytes: limit })
      parts.push(part)
    }
  } catch (error) {
    if (error instanceof PlatformError) throw error
    throw new PlatformError('INVALID_REQUEST', 'the body ended early', undefined, { cause: error })
  }
  return Buffer.concat(parts)
}
