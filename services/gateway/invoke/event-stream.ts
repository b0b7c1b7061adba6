/** The events of InvokeWithResponseStream, in AWS's own codec. */
import { EventStreamCodec } from '@smithy/core/event-streams'
import type { InvocationReport } from '../../contracts/usage.ts'

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes as Uint8Array).toString('utf8'),
  (text) => Buffer.from(text, 'utf8'),
)

export const eventStreamType = 'application/vnd.amazon.eventstream'

/** One event is at most 16 MiB for the clients' codecs; these are far smaller, so that bytes go on as they come. */
const maxChunkBytes = 128 * 1024

const event = (type: string, contentType: string, body: Uint8Array): Uint8Array =>
  codec.encode({
    headers: {
      ':message-type': { type: 'string', value: 'event' },
      ':event-type': { type: 'string', value: type },
      ':content-type': { type: 'string', value: contentType },
    },
    body,
  })

export interface StreamEnd {
  readonly errorCode?: string | undefined
  readonly errorDetails?: string | undefined
  /** Only when the caller asked for the log. */
  readonly logResult?: string | undefined
}

export function* payloadChunks(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += maxChunkBytes)
    yield event('PayloadChunk', 'application/octet-stream', bytes.subarray(at, at + maxChunkBytes))
}

export const invokeComplete = ({ errorCode, errorDetails, logResult }: StreamEnd): Uint8Array => {
  const end = {
    ...(errorCode === undefined ? {} : { ErrorCode: errorCode, ErrorDetails: errorDetails ?? '' }),
    ...(logResult === undefined ? {} : { LogResult: logResult }),
  }
  return event('InvokeComplete', 'application/json', Buffer.from(JSON.stringify(end)))
}

/** A function error that came after its first bytes: the node tells its kind, and the log the rest. */
export const detailsOf = (report: InvocationReport | undefined): string =>
  JSON.stringify({
    errorType: errorTypes[report?.outcome ?? ''] ?? 'Runtime.StreamError',
    errorMessage: `RequestId: ${report?.invocationId ?? ''} Error: ${report?.outcome ?? 'lost'}`,
  })

const errorTypes: Readonly<Record<string, string>> = {
  timeout: 'Sandbox.Timedout',
  'out-of-memory': 'Runtime.OutOfMemory',
  exit: 'Runtime.ExitError',
  'response-too-large': 'Function.ResponseSizeTooLarge',
}
