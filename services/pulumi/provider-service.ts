/** The provider as the engine calls it (gRPC `pulumirpc.ResourceProvider`). What it can do is in the kinds of resources. */
import grpc from '@grpc/grpc-js'
import empty from 'google-protobuf/google/protobuf/empty_pb.js'
import plugin from '@pulumi/pulumi/proto/plugin_pb.js'
import type { IResourceProviderServer } from '@pulumi/pulumi/proto/provider_grpc_pb.js'
import proto from '@pulumi/pulumi/proto/provider_pb.js'
import { describeError } from '../cli/cli-error.ts'
import { lambdaClient } from '../cli/connection.ts'
import { functionKind } from './function-kind.ts'
import { differences, fromStruct, toStruct, withoutSecrets, type Properties } from './property-values.ts'
import { checkProviderConfig, completeProviderConfig, connectionOf } from './provider-config.ts'
import { checkInputs, type CheckFailure, type ResourceKind, type Target } from './resource-kind.ts'
import { aliasKind, eventQueueKind, functionUrlKind } from './settings-kinds.ts'

const kinds: Readonly<Record<string, ResourceKind>> = {
  'forkyard:index:Function': functionKind,
  'forkyard:index:Alias': aliasKind,
  'forkyard:index:FunctionUrl': functionUrlKind,
  'forkyard:index:EventQueue': eventQueueKind,
}

const kindOf = (urn: string): ResourceKind => {
  const type = urn.split('::')[2]?.split('$').at(-1) ?? ''
  const kind = Object.hasOwn(kinds, type) ? kinds[type] : undefined
  if (kind) return kind
  throw new Error(`there is no resource ${type}; there are ${Object.keys(kinds).join(', ')}`)
}

export const providerService = (version: string): Partial<IResourceProviderServer> => {
  let configured: Properties = {}

  const targetOf = (urn: string): Target => {
    const connection = connectionOf(configured)
    return { client: lambdaClient(connection), connection, urn }
  }

  return {
    getPluginInfo: unary(async () => new plugin.PluginInfo().setVersion(version)),
    getSchema: unary(async () =>
      new proto.GetSchemaResponse().setSchema(JSON.stringify({ name: 'forkyard', version })),
    ),
    cancel: unary(async () => new empty.Empty()),
    attach: unary(async () => new empty.Empty()),

    checkConfig: unary(async (request) => {
      const news = withoutSecrets(fromStruct(request.getNews())) as Properties
      return checkResponse(completeProviderConfig(news), checkProviderConfig(news))
    }),

    configure: unary(async (request) => {
      configured = withoutSecrets(fromStruct(request.getArgs())) as Properties
      // Secrets come as plain values, and what is returned under the same name is a secret again: the engine sees to that.
      return new proto.ConfigureResponse().setAcceptsecrets(false)
    }),

    check: unary(async (request) => {
      const urn = request.getUrn()
      const { inputs, failures } = await checkInputs(kindOf(urn), fromStruct(request.getNews()), nameIn(urn))
      return checkResponse(inputs, failures)
    }),

    diff: unary(async (request) =>
      diffResponse(kindOf(request.getUrn()), fromStruct(request.getOlds()), fromStruct(request.getNews())),
    ),

    create: unary(async (request) => {
      const inputs = fromStruct(request.getProperties())
      const { id, computed } = await kindOf(request.getUrn()).create(targetOf(request.getUrn()), inputs)
      return new proto.CreateResponse().setId(id).setProperties(toStruct({ ...inputs, ...computed }))
    }),

    read: unary(async (request) => {
      const known = fromStruct(request.getProperties())
      const found = await kindOf(request.getUrn()).read(targetOf(request.getUrn()), request.getId(), known)
      const response = new proto.ReadResponse()
      // No id: the engine forgets the resource, and the next update makes it again.
      if (!found) return response
      const { inputs, computed } = found
      return response
        .setId(request.getId())
        .setInputs(toStruct(inputs))
        .setProperties(toStruct({ ...inputs, ...computed }))
    }),

    update: unary(async (request) => {
      const [before, inputs] = [fromStruct(request.getOlds()), fromStruct(request.getNews())]
      const target = targetOf(request.getUrn())
      const computed = await kindOf(request.getUrn()).update(target, request.getId(), before, inputs)
      return new proto.UpdateResponse().setProperties(toStruct({ ...inputs, ...computed }))
    }),

    delete: unary(async (request) => {
      const known = fromStruct(request.getProperties())
      await kindOf(request.getUrn()).remove(targetOf(request.getUrn()), request.getId(), known)
      return new empty.Empty()
    }),
  }
}

/** Errors reach the person who runs the update, as one line. */
const unary =
  <Request, Response>(answer: (request: Request) => Promise<Response>): grpc.handleUnaryCall<Request, Response> =>
  (call, reply) => {
    answer(call.request).then(
      (response) => reply(null, response),
      (error: unknown) => reply({ code: grpc.status.UNKNOWN, details: describeError(error) }),
    )
  }

const nameIn = (urn: string): string => urn.split('::')[3] ?? ''

const checkResponse = (inputs: Properties, failures: readonly CheckFailure[]): proto.CheckResponse => {
  const list = failures.map(({ property, reason }) => new proto.CheckFailure().setProperty(property).setReason(reason))
  return new proto.CheckResponse().setInputs(toStruct(inputs)).setFailuresList(list)
}

/** Compared with the outputs: after a refresh they say what is really there. */
export const diffResponse = (kind: ResourceKind, before: Properties, inputs: Properties): proto.DiffResponse => {
  const all = differences(inputsIn(before, inputs, kind), inputs)
  const local = new Set(kind.local ?? [])
  const isLocal = ({ path }: { path: string }): boolean => local.has(propertyOf(path))
  const found = all.every(isLocal) ? [] : all
  const { DIFF_SOME, DIFF_NONE } = proto.DiffResponse.DiffChanges
  const response = new proto.DiffResponse()
    .setChanges(found.length > 0 ? DIFF_SOME : DIFF_NONE)
    .setDiffsList([...new Set(found.map(({ path }) => propertyOf(path)))])
    .setReplacesList(kind.replaceOn.filter((key) => found.some(({ path }) => propertyOf(path) === key)))
    .setHasdetaileddiff(true)
  for (const { path, kind: change } of found)
    response
      .getDetaileddiffMap()
      .set(path, new proto.PropertyDiff().setKind(kindOfChange(change, kind.replaceOn.includes(propertyOf(path)))))
  return response
}

/** What is computed is no input, and no difference. */
const inputsIn = (before: Properties, inputs: Properties, { schema }: ResourceKind): Properties =>
  Object.fromEntries(Object.entries(before).filter(([key]) => key in inputs || Object.hasOwn(schema.properties, key)))

const propertyOf = (path: string): string => path.split(/[.[]/)[0] ?? ''

const kindOfChange = (change: 'add' | 'delete' | 'update', replaces: boolean): proto.PropertyDiff.Kind => {
  const { ADD, ADD_REPLACE, DELETE, DELETE_REPLACE, UPDATE, UPDATE_REPLACE } = proto.PropertyDiff.Kind
  if (change === 'add') return replaces ? ADD_REPLACE : ADD
  if (change === 'delete') return replaces ? DELETE_REPLACE : DELETE
  return replaces ? UPDATE_REPLACE : UPDATE
}
