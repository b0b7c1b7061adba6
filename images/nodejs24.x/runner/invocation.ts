/** One request as the runtime got it, and Lambda's context object made from it. */
import type { Readable } from 'node:stream'
import type { Reply } from './connection.ts'
import type { RuntimeApi } from './runtime-api.ts'

export interface Invocation {
  readonly api: RuntimeApi
  readonly requestId: string
  readonly contentType: string
  /** The event's bytes, or an HTTP request that may still be coming in. */
  readonly body: Buffer | Readable
  /** Epoch milliseconds at which the node ends the sandbox. */
  readonly deadlineMs: number
  readonly functionArn: string
  readonly traceId: string | undefined
  readonly header: (name: string) => string | undefined
}

export const toInvocation = (api: RuntimeApi, { headers, body }: Reply): Invocation => ({
  api,
  requestId: headers.get('lambda-runtime-aws-request-id') ?? '',
  contentType: headers.get('content-type') ?? 'application/json',
  body,
  deadlineMs: Number(headers.get('lambda-runtime-deadline-ms') ?? 0),
  functionArn: headers.get('lambda-runtime-invoked-function-arn') ?? '',
  traceId: headers.get('lambda-runtime-trace-id'),
  header: (name) => headers.get(name),
})

export interface LambdaContext {
  /** false: a callback's result is sent at once, whatever the event loop still waits for. */
  callbackWaitsForEmptyEventLoop: boolean
  readonly functionName: string
  readonly functionVersion: string
  readonly memoryLimitInMB: string
  readonly logGroupName: string
  readonly logStreamName: string
  readonly clientContext: unknown
  readonly identity: unknown
  readonly invokedFunctionArn: string
  readonly awsRequestId: string
  getRemainingTimeInMillis(): number
}

/** Headers carry JSON in UTF-8. */
const jsonHeader = (value: string | undefined): unknown =>
  value === undefined ? undefined : JSON.parse(Buffer.from(value, 'latin1').toString('utf8'))

export const lambdaContext = (invocation: Invocation): LambdaContext => ({
  callbackWaitsForEmptyEventLoop: true,
  functionName: process.env['AWS_LAMBDA_FUNCTION_NAME'] ?? '',
  functionVersion: process.env['AWS_LAMBDA_FUNCTION_VERSION'] ?? '',
  memoryLimitInMB: process.env['AWS_LAMBDA_FUNCTION_MEMORY_SIZE'] ?? '',
  logGroupName: process.env['AWS_LAMBDA_LOG_GROUP_NAME'] ?? '',
  logStreamName: process.env['AWS_LAMBDA_LOG_STREAM_NAME'] ?? '',
  clientContext: jsonHeader(invocation.header('lambda-runtime-client-context')),
  identity: jsonHeader(invocation.header('lambda-runtime-cognito-identity')),
  invokedFunctionArn: invocation.functionArn,
  awsRequestId: invocation.requestId,
  getRemainingTimeInMillis: () => invocation.deadlineMs - Date.now(),
})

export const parseEvent = (body: Buffer): unknown => (body.length === 0 ? {} : JSON.parse(body.toString('utf8')))
