/** Where the platform is and who calls: the AWS variables of the environment, else what the local stack wrote. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LambdaClient } from '@aws-sdk/client-lambda'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { CliError } from './cli-error.ts'

/** `client.json` of a stack. */
export const Connection = Type.Object({
  endpoint: Type.String(),
  region: Type.String(),
  accessKeyId: Type.String(),
  secretAccessKey: Type.String(),
})
export type Connection = Static<typeof Connection>

type Env = Readonly<Record<string, string | undefined>>

/** @throws CliError when neither source names an endpoint and its keys. */
export const findConnection = (env: Env): Connection => fromEnvironment(env) ?? localStack(env) ?? notRunning(env)

/** For `forkyard env`: the stack that runs now, even in a shell that still holds the variables of an earlier one. */
export const findLocalFirst = (env: Env): Connection => localStack(env) ?? fromEnvironment(env) ?? notRunning(env)

const fromEnvironment = (env: Env): Connection | undefined => {
  const endpoint = env['AWS_ENDPOINT_URL_LAMBDA'] ?? env['AWS_ENDPOINT_URL']
  if (!endpoint) return undefined
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env
  if (!accessKeyId || !secretAccessKey)
    throw new CliError('AWS_ENDPOINT_URL is set, but AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not')
  const region = env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1'
  return { endpoint, region, accessKeyId, secretAccessKey }
}

const clientFile = (env: Env): string => join(env['FORKYARD_STATE_DIR'] ?? '/var/lib/forkyard/local', 'client.json')

const localStack = (env: Env): Connection | undefined => {
  const file = clientFile(env)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code === 'EACCES') throw new CliError(`${file} belongs to another user: run as the user who ran ./scripts/up`)
    throw error
  }
  try {
    return Value.Parse(Connection, JSON.parse(text))
  } catch (error) {
    throw new CliError(`${file} is damaged: ./scripts/up writes it again`, 1, { cause: error })
  }
}

const notRunning = (env: Env): never => {
  throw new CliError(
    `no stack is running here (no AWS_ENDPOINT_URL, no ${clientFile(env)}): start one with ./scripts/up`,
  )
}

/** @param maxAttempts 1 where a repeated call would do its work twice. */
export const lambdaClient = (
  { endpoint, region, accessKeyId, secretAccessKey }: Connection,
  maxAttempts = 3,
): LambdaClient => new LambdaClient({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, maxAttempts })
