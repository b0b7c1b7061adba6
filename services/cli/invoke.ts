/** One invocation through the Lambda API, and what its reply's headers tell about the start. */
import { InvokeCommand, InvokeWithResponseStreamCommand, type LambdaClient } from '@aws-sdk/client-lambda'

export interface InvokeOptions {
  readonly functionName: string
  readonly payload: Uint8Array
  readonly qualifier?: string
  readonly tail: boolean
  /** `x-forkyard-start`: how a new instance has to be made. */
  readonly start?: string
  readonly mode: 'sync' | 'async' | 'stream'
  /** Gets the answer as it comes. */
  readonly write: (bytes: Uint8Array) => void
}

export interface InvokeResult {
  readonly status: number
  readonly functionError?: string
  readonly logTail?: string
  readonly serverTiming?: string
  readonly requestId?: string
  readonly version?: string
}

interface Input {
  readonly FunctionName: string
  readonly Payload: Uint8Array
  readonly Qualifier?: string
  readonly LogType?: 'Tail'
}

export const invoke = async (client: LambdaClient, options: InvokeOptions): Promise<InvokeResult> => {
  const headers = captureHeaders(client, options.start)
  const input = {
    FunctionName: options.functionName,
    Payload: options.payload,
    ...(options.qualifier ? { Qualifier: options.qualifier } : {}),
    ...(options.tail ? { LogType: 'Tail' as const } : {}),
  }
  const told =
    options.mode === 'stream' ? await stream(client, input, options.write) : await single(client, input, options)
  const { 'server-timing': serverTiming, 'x-amzn-requestid': requestId } = headers()
  return { ...told, ...(serverTiming ? { serverTiming } : {}), ...(requestId ? { requestId } : {}) }
}

const single = async (client: LambdaClient, input: Input, { mode, write }: InvokeOptions): Promise<InvokeResult> => {
  const InvocationType = mode === 'async' ? 'Event' : 'RequestResponse'
  const {
    StatusCode = 0,
    FunctionError,
    LogResult,
    ExecutedVersion,
    Payload,
  } = await client.send(new InvokeCommand({ ...input, InvocationType }))
  if (Payload && Payload.length > 0) write(Payload)
  return {
    status: StatusCode,
    ...(FunctionError ? { functionError: FunctionError } : {}),
    ...(LogResult ? { logTail: Buffer.from(LogResult, 'base64').toString() } : {}),
    ...(ExecutedVersion ? { version: ExecutedVersion } : {}),
  }
}

const stream = async (client: LambdaClient, input: Input, write: InvokeOptions['write']): Promise<InvokeResult> => {
  const reply = await client.send(new InvokeWithResponseStreamCommand(input))
  const { StatusCode = 0, EventStream, ExecutedVersion } = reply
  let functionError: string | undefined
  let logTail: string | undefined
  for await (const { PayloadChunk, InvokeComplete } of EventStream ?? []) {
    if (PayloadChunk?.Payload) write(PayloadChunk.Payload)
    if (InvokeComplete?.ErrorCode)
      functionError = [InvokeComplete.ErrorCode, InvokeComplete.ErrorDetails].filter(Boolean).join(': ')
    if (InvokeComplete?.LogResult) logTail = Buffer.from(InvokeComplete.LogResult, 'base64').toString()
  }
  return {
    status: StatusCode,
    ...(functionError ? { functionError } : {}),
    ...(logTail ? { logTail } : {}),
    ...(ExecutedVersion ? { version: ExecutedVersion } : {}),
  }
}

/** The SDK hides the headers of its replies; a step of its own keeps those of the last one. */
const captureHeaders = (client: LambdaClient, start: string | undefined): (() => Record<string, string>) => {
  let seen: Record<string, string> = {}
  client.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as { headers: Record<string, string> }
      if (start) request.headers['x-forkyard-start'] = start
      const result = await next(args)
      const response = result.response as { headers?: Record<string, string> }
      seen = Object.fromEntries(
        Object.entries(response.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
      )
      return result
    },
    { step: 'build', name: 'forkyardHeaders', override: true },
  )
  return () => seen
}
