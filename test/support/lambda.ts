/** A Lambda client of AWS's own SDK, and the few calls that tests and benchmarks make over and over. */
import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import {
  CreateFunctionCommand,
  InvokeCommand,
  type CreateFunctionCommandInput,
  type InvokeCommandInput,
  type LambdaClient,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { ZipFile } from 'yazl'
import type { StartWish } from '../../services/contracts/placement.ts'
import { lambdaClient as clientOf, type Connection } from '../../services/cli/connection.ts'

export type { Connection }

/** One attempt a call: a test must see what the platform answers, not what the SDK makes of it. */
export const lambdaClient = (connection: Connection): LambdaClient => clientOf(connection, 1)

export const uniqueName = (prefix: string): string => `${prefix}-${randomBytes(4).toString('hex')}`

export type Files = Readonly<Record<string, string | Buffer>>

/** Files named `bootstrap` are executable. */
export const zipOf = async (files: Files): Promise<Buffer> => {
  const zip = new ZipFile()
  for (const [path, content] of Object.entries(files))
    zip.addBuffer(Buffer.from(content), path, { mode: path === 'bootstrap' ? 0o100755 : 0o100644 })
  zip.end()
  return buffer(zip.outputStream)
}

/** `files`, or the source of an ES module `index.mjs`. */
export const createFunction = async (
  client: LambdaClient,
  name: string,
  code: Files | string,
  input: Partial<Omit<CreateFunctionCommandInput, 'FunctionName'>> = {},
): Promise<void> => {
  const files = typeof code === 'string' ? { 'index.mjs': code } : code
  await client.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'nodejs24.x',
      Role: 'arn:aws:iam::000000000000:role/test',
      Handler: 'index.handler',
      Timeout: 30,
      Code: { ZipFile: await zipOf(files) },
      ...input,
    }),
  )
  await waitUntilFunctionActiveV2({ client, maxWaitTime: 30 }, { FunctionName: name })
}

export interface Invoked {
  readonly status: number
  /** The answer as text; JSON in `json`. */
  readonly text: string
  readonly json: unknown
  readonly functionError: string | undefined
  readonly logTail: string | undefined
  readonly version: string | undefined
  readonly requestId: string
  /** Names of the phases with their durations, and `start` with the start type in `startType`. */
  readonly serverTiming: string
  readonly startType: string | undefined
}

export interface InvokeOptions extends Partial<Omit<InvokeCommandInput, 'FunctionName' | 'Payload'>> {
  readonly start?: Exclude<StartWish, 'auto'>
}

/** @throws the SDK's exception for errors of the platform. */
export const invoke = async (
  client: LambdaClient,
  name: string,
  event: unknown = {},
  { start, ...input }: InvokeOptions = {},
): Promise<Invoked> => {
  const command = new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), ...input })
  let headers: Record<string, string> = {}
  command.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as { headers: Record<string, string> }
      if (start) request.headers['x-forkyard-start'] = start
      const result = await next(args)
      headers = (result.response as { headers: Record<string, string> }).headers
      return result
    },
    { step: 'build', name: 'seeHeaders' },
  )
  const { StatusCode = 0, Payload, FunctionError, LogResult, ExecutedVersion, $metadata } = await client.send(command)
  const text = Buffer.from(Payload ?? []).toString()
  const serverTiming = headers['server-timing'] ?? ''
  return {
    status: StatusCode,
    text,
    json: parse(text),
    functionError: FunctionError,
    logTail: LogResult === undefined ? undefined : Buffer.from(LogResult, 'base64').toString(),
    version: ExecutedVersion,
    requestId: $metadata.requestId ?? '',
    serverTiming,
    startType: /start;desc="([a-z]+)"/.exec(serverTiming)?.[1],
  }
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
