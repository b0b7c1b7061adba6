/** Functions as a whole: create, read, list, delete. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { latest, type VersionConfig } from '../../contracts/function.ts'
import { takeCode } from '../deploy.ts'
import type { GatewayDeps } from '../deps.ts'
import { parseFunctionName } from '../function-name.ts'
import { newRecord } from '../function-record.ts'
import { concurrencyView, configurationView } from '../function-view.ts'
import { findVersion, targetOf } from '../lookup.ts'
import { numberKey, pageOf, pageQuery } from '../pages.ts'
import { settingMembers, settingsFrom } from '../settings.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { versionOf, withVersion } from '../publish.ts'
import { codeLocation } from './code-download.ts'
import { requirePool } from '../pools.ts'
import { operation, type AnyOperation } from './operation.ts'
import { checkTags, Tags } from './tags.ts'
import { FunctionAndCode, FunctionConfiguration, listOf, Named, Qualified } from './views.ts'
import { deleteFunctionOrVersion } from '../delete-function.ts'

const CreateBody = Type.Object({
  FunctionName: Type.String({ minLength: 1, maxLength: 140 }),
  Code: Type.Object({ ZipFile: Type.Optional(Type.String({ description: 'the zip, base64' })) }),
  ...settingMembers,
  Publish: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  Tags: Type.Optional(Type.Union([Tags, Type.Null()])),
})
const createMembers = new Set(Object.keys(CreateBody.properties))
const codeMembers = new Set(['ZipFile'])

export const functionOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region, limits } = config
  return [
    operation({
      id: 'CreateFunction',
      summary: 'Creates a function from a zip',
      method: 'POST',
      url: '/2015-03-31/functions',
      body: CreateBody,
      bodyKind: 'code',
      status: 201,
      reply: FunctionConfiguration,
      errors: ['ALREADY_EXISTS', 'CODE_TOO_LARGE', 'INVALID_ARCHIVE', 'UNKNOWN_RUNTIME'],
      handle: async ({ caller: { tenant }, body, request }) => {
        const { name, qualifier } = parseFunctionName(body.FunctionName, region, tenant)
        if (qualifier !== undefined) throw new PlatformError('INVALID_REQUEST', 'A new function has no qualifier')
        refuseUnsupported(body, createMembers, name)
        refuseUnsupported(body.Code, codeMembers, name)
        const settings = settingsFrom(body, undefined, limits.environmentBytes)
        const tags = body.Tags ?? {}
        checkTags(tags)
        // A name that is taken costs no upload to the store; `create` below decides.
        if (registry.find(tenant, name)) throw new PlatformError('ALREADY_EXISTS', `Function already exist: ${name}`)
        const zip = await request.bytesOf?.(body.Code.ZipFile ?? '')
        if (!zip || zip.length === 0) throw new PlatformError('INVALID_REQUEST', 'Code.ZipFile is required')
        // Wrong policy tags are found here, before the work.
        const noCode = { codeSha256: '', codeSize: 0, zipDigest: '', imageDigest: '' }
        requirePool(config.pools, newRecord(tenant, name, 1, settings, noCode, tags))
        const code = await takeCode(deps, { zip, runtime: settings.runtime, handler: settings.handler, dryRun: false })
        const record = newRecord(tenant, name, await registry.firstVersion(tenant, name), settings, code, tags)
        if (!body.Publish) {
          await registry.create(record)
          return configurationView(region, record.latest)
        }
        const version = await registry.addVersion(versionOf(record))
        try {
          await registry.create(withVersion(record, version))
        } catch (error) {
          if (error instanceof PlatformError) await registry.dropVersion(tenant, name, Number(version.version))
          throw error
        }
        return configurationView(region, version)
      },
    }),
    operation({
      id: 'GetFunction',
      summary: 'Configuration, tags, and where the code can be downloaded',
      method: 'GET',
      url: '/2015-03-31/functions/:FunctionName',
      params: Named,
      query: Qualified,
      status: 200,
      reply: FunctionAndCode,
      handle: async ({ caller, params, query }) => {
        const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        const { record, version } = await findVersion(deps, target)
        return {
          Configuration: configurationView(region, version, target.qualifier),
          Code: { RepositoryType: 'S3', Location: await codeLocation(deps, caller.accessKey, version) },
          ...(Object.keys(record.tags).length > 0 ? { Tags: record.tags } : {}),
          ...(record.reservedConcurrency === undefined ? {} : { Concurrency: concurrencyView(record) }),
        }
      },
    }),
    operation({
      id: 'ListFunctions',
      summary: 'Functions of the caller, by name; with FunctionVersion=ALL also their versions',
      method: 'GET',
      url: '/2015-03-31/functions',
      query: Type.Object({
        ...pageQuery,
        FunctionVersion: Type.Optional(Type.Enum(['ALL'])),
        MasterRegion: Type.Optional(Type.String({ maxLength: 32 })),
      }),
      status: 200,
      reply: listOf('Functions', FunctionConfiguration),
      handle: async ({ caller: { tenant }, query }) => {
        const versions = registry.list(tenant).flatMap(({ name, latest: config_, versions: numbers }) => {
          if (query.FunctionVersion !== 'ALL') return [config_]
          return [config_, ...numbers.flatMap((number) => registry.version(tenant, name, number) ?? [])]
        })
        const { items, next } = pageOf(versions, query, versionKey)
        const arnOf = query.FunctionVersion === 'ALL' ? ({ version }: VersionConfig) => version : () => undefined
        return { Functions: items.map((item) => configurationView(region, item, arnOf(item))), ...next }
      },
    }),
    operation({
      id: 'DeleteFunction',
      summary: 'Deletes a function with all its versions, or the version that Qualifier names',
      method: 'DELETE',
      url: '/2015-03-31/functions/:FunctionName',
      params: Named,
      query: Qualified,
      status: 204,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query }) =>
        deleteFunctionOrVersion(deps, targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)),
    }),
  ]
}

/** By name, `$LATEST` before the numbers. */
const versionKey = ({ name, version }: VersionConfig): string =>
  `${name} ${version === latest ? '' : numberKey(Number(version))}`
