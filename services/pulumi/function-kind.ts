/** `Function`: its code and configuration are brought to what is wanted, published as a version, and the alias moved to that. */
import {
  CreateAliasCommand,
  CreateFunctionCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  GetAliasCommand,
  GetFunctionCommand,
  PublishVersionCommand,
  ResourceConflictException,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  type GetFunctionCommandOutput,
  type LambdaClient,
} from '@aws-sdk/client-lambda'
import { CliError } from '../cli/cli-error.ts'
import { policyTags, role } from '../cli/deploy.ts'
import { orUndefined } from '../cli/or-undefined.ts'
import { loadCode } from './function-code.ts'
import { completeInputs, FunctionInputs, ownerTag, packing, type CompleteInputs } from './function-inputs.ts'
import { bringNetwork, openNetwork, readNetwork, type WantedNetwork } from './function-network.ts'
import { readFunction } from './function-state.ts'
import { ownerOf } from './owner.ts'
import type { Properties } from './property-values.ts'
import type { ResourceKind, Target } from './resource-kind.ts'

export const functionKind: ResourceKind = {
  schema: FunctionInputs,
  replaceOn: ['name'],
  local: ['code', 'include', 'files'],
  complete: completeInputs,

  create: async (target, inputs) => {
    const wanted = inputs as unknown as CompleteInputs
    const isNew = await createOrRecognise(target, wanted)
    try {
      // What an earlier creation that was cut off has left is not known; whatever is not wanted goes.
      const before = isNew ? {} : { network: noNetwork, bindings: {} }
      return { id: wanted.name, computed: await bring(target, wanted, before) }
    } catch (error) {
      // The engine does not know of it yet. Should this fail too, the next creation recognises it as its own.
      if (isNew) await remove(target.client, wanted.name).catch(() => undefined)
      throw error
    }
  },

  read: async ({ client, connection }, id, known) => {
    const found = await readFunction(client, id, known)
    if (!found) return undefined
    const { inputs, computed } = await readNetwork(connection, id, known)
    return { inputs: { ...found.inputs, ...inputs }, computed: { ...found.computed, ...computed } }
  },

  update: async (target, id, before, inputs) => {
    const wanted = inputs as unknown as CompleteInputs
    const computed = await bring(target, wanted, before)
    const lastAlias = before['alias']
    if (typeof lastAlias === 'string' && lastAlias !== '' && lastAlias !== wanted.alias)
      await target.client.send(new DeleteAliasCommand({ FunctionName: id, Name: lastAlias }))
    return computed
  },

  remove: ({ client }, id) => remove(client, id),
}

const remove = async (client: LambdaClient, FunctionName: string): Promise<void> => {
  await orUndefined(client.send(new DeleteFunctionCommand({ FunctionName })))
}

/** @returns whether it was made now; false: by an update that was cut off. @throws CliError when it is somebody else's. */
const createOrRecognise = async ({ client, urn }: Target, wanted: CompleteInputs): Promise<boolean> => {
  const { zip } = await codeOf(wanted)
  const Tags = tagsOf(wanted, urn)
  try {
    await client.send(new CreateFunctionCommand({ ...configurationOf(wanted), Code: { ZipFile: zip }, Tags }))
    return true
  } catch (error) {
    if (!(error instanceof ResourceConflictException)) throw error
    const found = await client.send(new GetFunctionCommand({ FunctionName: wanted.name }))
    if (found.Tags?.[ownerTag] === ownerOf(urn)) return false
    throw new CliError(
      `there is a function ${wanted.name} already. Give this one another name, or take it over: resource option import: '${wanted.name}'`,
      1,
      { cause: error },
    )
  }
}

/** Each step may be repeated: what was cut off goes on here. */
const bring = async (
  { client, connection, urn }: Target,
  wanted: CompleteInputs,
  last: WantedNetwork,
): Promise<Properties> => {
  const FunctionName = wanted.name
  await openNetwork(connection, FunctionName, wanted, last)
  const before = await client.send(new GetFunctionCommand({ FunctionName }))
  const arn = before.Configuration?.FunctionArn ?? ''
  await bringTags(client, arn, before, tagsOf(wanted, urn))
  await client.send(new UpdateFunctionConfigurationCommand(configurationOf(wanted)))
  if (before.Configuration?.CodeSha256 !== wanted.codeSha256) {
    const { zip } = await codeOf(wanted)
    await client.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: zip }))
  }
  const { Version = '' } = await client.send(
    new PublishVersionCommand({ FunctionName, CodeSha256: wanted.codeSha256, Description: wanted.description }),
  )
  await bringAlias(client, wanted, Version)
  const network = await bringNetwork(connection, FunctionName, wanted, last)
  return { arn, version: Version, qualifiedArn: `${arn}:${wanted.alias}`, ...network }
}

const noNetwork = { rules: [] }

const configurationOf = (wanted: CompleteInputs) => ({
  FunctionName: wanted.name,
  Role: role,
  Runtime: wanted.runtime,
  Handler: wanted.handler,
  MemorySize: wanted.memory,
  Timeout: wanted.timeout,
  Description: wanted.description,
  Environment: { Variables: { ...wanted.environment } },
})

const tagsOf = (wanted: CompleteInputs, urn: string): Record<string, string> => ({
  ...wanted.tags,
  ...policyTags(wanted),
  [ownerTag]: ownerOf(urn),
})

const bringTags = async (
  client: LambdaClient,
  Resource: string,
  { Tags: before = {} }: GetFunctionCommandOutput,
  wanted: Record<string, string>,
): Promise<void> => {
  const surplus = Object.keys(before).filter((key) => !Object.hasOwn(wanted, key))
  const differ = Object.entries(wanted).some(([key, value]) => before[key] !== value)
  if (differ) await client.send(new TagResourceCommand({ Resource, Tags: wanted }))
  if (surplus.length > 0) await client.send(new UntagResourceCommand({ Resource, TagKeys: surplus }))
}

const bringAlias = async (client: LambdaClient, { name, alias }: CompleteInputs, version: string): Promise<void> => {
  const names = { FunctionName: name, Name: alias }
  const before = await orUndefined(client.send(new GetAliasCommand(names)))
  if (!before) await client.send(new CreateAliasCommand({ ...names, FunctionVersion: version }))
  else if (before.FunctionVersion !== version || before.RoutingConfig) {
    const RoutingConfig = { AdditionalVersionWeights: {} }
    await client.send(new UpdateAliasCommand({ ...names, FunctionVersion: version, RoutingConfig }))
  }
}

/** Packed again: the inputs hold what it was when they were checked. */
const codeOf = async (wanted: CompleteInputs): Promise<{ readonly zip: Uint8Array }> => {
  const code = await loadCode(wanted.code, packing(wanted as unknown as Properties))
  if (code.codeSha256 !== wanted.codeSha256) throw new CliError(`${wanted.code} changed meanwhile: run it again`)
  return code
}
