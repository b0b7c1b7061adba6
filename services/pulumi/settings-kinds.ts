/**
 * Settings of a function that are no functions themselves: alias, URL, handling of events. Creating one that is there already just as it is
 * wanted is nothing, so that an update that was cut off goes on; one that is there otherwise is somebody else's.
 */
import { isDeepStrictEqual } from 'node:util'
import {
  CreateAliasCommand,
  CreateFunctionUrlConfigCommand,
  DeleteAliasCommand,
  DeleteFunctionEventInvokeConfigCommand,
  DeleteFunctionUrlConfigCommand,
  GetAliasCommand,
  GetFunctionEventInvokeConfigCommand,
  GetFunctionUrlConfigCommand,
  PutFunctionEventInvokeConfigCommand,
  UpdateAliasCommand,
  UpdateFunctionUrlConfigCommand,
  type FunctionUrlAuthType,
  type InvokeMode,
  type LambdaClient,
} from '@aws-sdk/client-lambda'
import { Type, type TObject } from 'typebox'
import { CliError } from '../cli/cli-error.ts'
import { orUndefined } from '../cli/or-undefined.ts'
import { permitUrl } from '../cli/url-permission.ts'
import { Alias } from './function-inputs.ts'
import type { Properties } from './property-values.ts'
import { splitId, type Found, type ResourceKind } from './resource-kind.ts'
import { fromLambdaCors, toLambdaCors, UrlCors } from './url-cors.ts'

interface Setting {
  readonly schema: TObject
  readonly defaults: Properties
  /** The input that, with `functionName`, is its id. */
  readonly key: string
  readonly put: (client: LambdaClient, inputs: Properties) => Promise<Properties>
  readonly get: (client: LambdaClient, functionName: string, key: string) => Promise<Found | undefined>
  readonly remove: (client: LambdaClient, functionName: string, key: string) => Promise<unknown>
}

const settingKind = ({ schema, defaults, key, put, get, remove }: Setting): ResourceKind => ({
  schema,
  replaceOn: ['functionName', key],
  local: ['adopt'],
  complete: async (given) => ({ inputs: { ...defaults, ...given }, failures: [] }),
  create: async ({ client }, inputs) => {
    const id = `${String(inputs['functionName'])}:${String(inputs[key])}`
    if (inputs['adopt'] !== true) refuseOthers(id, inputs, await get(client, ...splitId(id)))
    return { id, computed: await put(client, inputs) }
  },
  read: ({ client }, id) => get(client, ...splitId(id)),
  update: ({ client }, _id, _before, inputs) => put(client, inputs),
  remove: async ({ client }, id) => void (await orUndefined(remove(client, ...splitId(id)))),
})

/** What is there just as it is wanted was made by an update that was cut off, or might have been. @throws CliError otherwise */
const refuseOthers = (id: string, inputs: Properties, found: Found | undefined): void => {
  const { adopt: _, ...wanted } = inputs
  if (!found || isDeepStrictEqual(found.inputs, wanted)) return
  throw new CliError(
    `${id} is there already, set up by somebody else. Take it over as it is (resource option import: '${id}'), or change it to what is wanted here (adopt: true)`,
    1,
  )
}

const adopt = Type.Optional(Type.Boolean())

const functionName = Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' })

const Weights = Type.Record(Type.String({ pattern: '^[1-9]\\d*$' }), Type.Number({ minimum: 0, maximum: 1 }))

interface AliasInputs {
  readonly functionName: string
  readonly name: string
  readonly functionVersion: string
  readonly description: string
  readonly weights: Readonly<Record<string, number>>
}

export const aliasKind = settingKind({
  schema: Type.Object({
    functionName,
    name: Alias,
    functionVersion: Type.String({ pattern: '^(\\$LATEST|[1-9]\\d*)$' }),
    description: Type.Optional(Type.String({ maxLength: 256 })),
    weights: Type.Optional(Weights),
    adopt,
  }),
  defaults: { description: '', weights: {} },
  key: 'name',
  put: async (client, inputs) => {
    const wanted = inputs as unknown as AliasInputs
    const command = {
      FunctionName: wanted.functionName,
      Name: wanted.name,
      FunctionVersion: wanted.functionVersion,
      Description: wanted.description,
      RoutingConfig: { AdditionalVersionWeights: { ...wanted.weights } },
    }
    const before = await orUndefined(client.send(new GetAliasCommand(command)))
    const { AliasArn } = before
      ? await client.send(new UpdateAliasCommand(command))
      : await client.send(new CreateAliasCommand(command))
    return { arn: AliasArn }
  },
  get: async (client, name, alias) => {
    const found = await orUndefined(client.send(new GetAliasCommand({ FunctionName: name, Name: alias })))
    if (!found) return undefined
    const inputs = {
      functionName: name,
      name: alias,
      functionVersion: found.FunctionVersion,
      description: found.Description ?? '',
      weights: found.RoutingConfig?.AdditionalVersionWeights ?? {},
    }
    return { inputs, computed: { arn: found.AliasArn } }
  },
  remove: (client, name, alias) => client.send(new DeleteAliasCommand({ FunctionName: name, Name: alias })),
})

const qualifier = Type.Union([Alias, Type.Literal('$LATEST')])

interface UrlInputs {
  readonly functionName: string
  readonly qualifier: string
  readonly authType: FunctionUrlAuthType
  readonly invokeMode: InvokeMode
  readonly cors: UrlCors
}

/** The API knows `$LATEST` by no qualifier. */
const ofUrl = (name: string, of: string) => ({
  FunctionName: name,
  ...(of === '$LATEST' ? {} : { Qualifier: of }),
})

export const functionUrlKind = settingKind({
  schema: Type.Object({
    functionName,
    qualifier: Type.Optional(qualifier),
    authType: Type.Optional(Type.Enum(['AWS_IAM', 'NONE'])),
    invokeMode: Type.Optional(Type.Enum(['BUFFERED', 'RESPONSE_STREAM'])),
    cors: Type.Optional(UrlCors),
    adopt,
  }),
  defaults: { qualifier: 'live', authType: 'AWS_IAM', invokeMode: 'BUFFERED', cors: {} },
  key: 'qualifier',
  put: async (client, inputs) => {
    const wanted = inputs as unknown as UrlInputs
    const names = ofUrl(wanted.functionName, wanted.qualifier)
    const settings = { AuthType: wanted.authType, InvokeMode: wanted.invokeMode, Cors: toLambdaCors(wanted.cors) }
    const before = await orUndefined(client.send(new GetFunctionUrlConfigCommand(names)))
    const command = { ...names, ...settings }
    const { FunctionUrl } = before
      ? await client.send(new UpdateFunctionUrlConfigCommand(command))
      : await client.send(new CreateFunctionUrlConfigCommand(command))
    await permitUrl(client, names, wanted.authType)
    return { url: FunctionUrl }
  },
  get: async (client, name, of) => {
    const found = await orUndefined(client.send(new GetFunctionUrlConfigCommand(ofUrl(name, of))))
    if (!found) return undefined
    const { AuthType: authType, InvokeMode: invokeMode, Cors } = found
    return {
      inputs: { functionName: name, qualifier: of, authType, invokeMode, cors: fromLambdaCors(Cors ?? {}) },
      computed: { url: found.FunctionUrl },
    }
  },
  remove: async (client, name, of) => {
    await permitUrl(client, ofUrl(name, of), undefined)
    await client.send(new DeleteFunctionUrlConfigCommand(ofUrl(name, of)))
  },
})

export const eventQueueKind = settingKind({
  schema: Type.Object({
    functionName,
    qualifier: Type.Optional(qualifier),
    maximumRetryAttempts: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 })),
    maximumEventAgeSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 21_600 })),
    adopt,
  }),
  defaults: { qualifier: 'live', maximumRetryAttempts: 2, maximumEventAgeSeconds: 21_600 },
  key: 'qualifier',
  put: async (client, inputs) => {
    await client.send(
      new PutFunctionEventInvokeConfigCommand({
        FunctionName: String(inputs['functionName']),
        Qualifier: String(inputs['qualifier']),
        MaximumRetryAttempts: Number(inputs['maximumRetryAttempts']),
        MaximumEventAgeInSeconds: Number(inputs['maximumEventAgeSeconds']),
      }),
    )
    return {}
  },
  get: async (client, name, of) => {
    const command = new GetFunctionEventInvokeConfigCommand({ FunctionName: name, Qualifier: of })
    const found = await orUndefined(client.send(command))
    if (!found) return undefined
    const { MaximumRetryAttempts: maximumRetryAttempts, MaximumEventAgeInSeconds: maximumEventAgeSeconds } = found
    return {
      inputs: { functionName: name, qualifier: of, maximumRetryAttempts, maximumEventAgeSeconds },
      computed: {},
    }
  },
  remove: (client, name, of) =>
    client.send(new DeleteFunctionEventInvokeConfigCommand({ FunctionName: name, Qualifier: of })),
})
