/** Brings a function to the wanted state through the Lambda API: create, or update what differs, then publish. */
import {
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  DeleteFunctionUrlConfigCommand,
  GetFunctionCommand,
  GetFunctionUrlConfigCommand,
  TagResourceCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  UpdateFunctionUrlConfigCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
  type FunctionConfiguration,
  type LambdaClient,
} from '@aws-sdk/client-lambda'
import { accountIdOf } from '../contracts/function.ts'
import type { Bundle } from './bundle.ts'
import type { ProjectFile } from './project-file.ts'
import { orUndefined } from './or-undefined.ts'
import { permitUrl } from './url-permission.ts'

export interface Deployment {
  readonly functionName: string
  readonly functionArn: string
  readonly version: string
  readonly url?: string
  readonly created: boolean
}

/** Functions need no role here; the API wants one. */
export const role = `arn:aws:iam::${accountIdOf('default')}:role/forkyard`
const waiting = { maxWaitTime: 60, minDelay: 0.1, maxDelay: 1 }

export const deploy = async (
  client: LambdaClient,
  name: string,
  project: ProjectFile,
  bundle: Bundle,
  zip: Uint8Array,
): Promise<Deployment> => {
  const before = await orUndefined(client.send(new GetFunctionCommand({ FunctionName: name })))
  const wanted = {
    FunctionName: name,
    Runtime: bundle.runtime,
    Handler: bundle.handler,
    ...(project.memory === undefined ? {} : { MemorySize: project.memory }),
    ...(project.timeout === undefined ? {} : { Timeout: project.timeout }),
    ...(project.environment === undefined ? {} : { Environment: { Variables: project.environment } }),
  } as const
  const tags = policyTags(project)
  const published = before?.Configuration
    ? await update(client, wanted, before.Configuration, tags, zip)
    : await create(client, wanted, tags, zip)
  const url = await setUrl(client, name, project)
  return {
    functionName: name,
    functionArn: published.FunctionArn ?? '',
    version: published.Version ?? '',
    ...(url ? { url } : {}),
    created: !before,
  }
}

interface Wanted {
  readonly FunctionName: string
  readonly Runtime: Bundle['runtime']
  readonly Handler: string
  readonly MemorySize?: number
  readonly Timeout?: number
  readonly Environment?: { readonly Variables: Record<string, string> }
}

type Tags = Record<string, string>

const create = async (
  client: LambdaClient,
  wanted: Wanted,
  tags: Tags,
  zip: Uint8Array,
): Promise<FunctionConfiguration> => {
  const created = await client.send(
    new CreateFunctionCommand({ ...wanted, Role: role, Code: { ZipFile: zip }, Publish: true, Tags: tags }),
  )
  await active(client, wanted.FunctionName)
  return created
}

const update = async (
  client: LambdaClient,
  wanted: Wanted,
  before: FunctionConfiguration,
  tags: Tags,
  zip: Uint8Array,
): Promise<FunctionConfiguration> => {
  const { FunctionName } = wanted
  if (Object.keys(tags).length > 0) {
    // Tags belong to the function, not to the version that GetFunction answered with.
    const Resource = (before.FunctionArn ?? '').split(':').slice(0, 7).join(':')
    await client.send(new TagResourceCommand({ Resource, Tags: tags }))
  }
  if (differs(wanted, before)) {
    await client.send(new UpdateFunctionConfigurationCommand(wanted))
    await updated(client, FunctionName)
  }
  const published = await client.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: zip, Publish: true }))
  await updated(client, FunctionName)
  return published
}

/** Only what was asked for is compared: the rest stays as it is. */
export const differs = (wanted: Wanted, before: FunctionConfiguration): boolean =>
  wanted.Runtime !== before.Runtime ||
  wanted.Handler !== before.Handler ||
  (wanted.MemorySize ?? before.MemorySize) !== before.MemorySize ||
  (wanted.Timeout ?? before.Timeout) !== before.Timeout ||
  (wanted.Environment !== undefined &&
    sorted(wanted.Environment.Variables) !== sorted(before.Environment?.Variables ?? {}))

const sorted = (variables: Record<string, string>): string =>
  JSON.stringify(Object.entries(variables).toSorted(([a], [b]) => (a < b ? -1 : 1)))

export const policyTags = ({
  concurrency,
  reuse,
  keepAliveMs,
  cache,
  fork,
  pool,
}: Omit<ProjectFile, 'include'>): Tags => ({
  ...(concurrency === undefined ? {} : { 'forkyard:concurrency': String(concurrency) }),
  ...(reuse === undefined ? {} : { 'forkyard:reuse': String(reuse) }),
  ...(keepAliveMs === undefined ? {} : { 'forkyard:keep-alive-ms': String(keepAliveMs) }),
  ...(cache === undefined ? {} : { 'forkyard:cache': cache }),
  ...(fork === undefined ? {} : { 'forkyard:fork': String(fork) }),
  ...(pool === undefined ? {} : { 'forkyard:pool': pool }),
})

const setUrl = async (
  client: LambdaClient,
  FunctionName: string,
  project: ProjectFile,
): Promise<string | undefined> => {
  const before = await orUndefined(client.send(new GetFunctionUrlConfigCommand({ FunctionName })))
  if (project.url === undefined) return before?.FunctionUrl
  if (project.url === 'none') {
    if (before) await client.send(new DeleteFunctionUrlConfigCommand({ FunctionName }))
    await permitUrl(client, { FunctionName }, undefined)
    return undefined
  }
  const AuthType = project.url === 'public' ? 'NONE' : 'AWS_IAM'
  await permitUrl(client, { FunctionName }, AuthType)
  const InvokeMode = project.streaming ? 'RESPONSE_STREAM' : 'BUFFERED'
  if (before?.AuthType === AuthType && before.InvokeMode === InvokeMode) return before.FunctionUrl
  const command = { FunctionName, AuthType, InvokeMode } as const
  const { FunctionUrl } = before
    ? await client.send(new UpdateFunctionUrlConfigCommand(command))
    : await client.send(new CreateFunctionUrlConfigCommand(command))
  return FunctionUrl
}

/** Both throw when the state is a failure, or still pending at the end of `waiting`. */
const active = async (client: LambdaClient, FunctionName: string): Promise<void> => {
  await waitUntilFunctionActiveV2({ client, ...waiting }, { FunctionName })
}

const updated = async (client: LambdaClient, FunctionName: string): Promise<void> => {
  await waitUntilFunctionUpdatedV2({ client, ...waiting }, { FunctionName })
}
