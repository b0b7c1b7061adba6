/** Versions: the configuration of one, publishing, listing. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { latest, type FunctionRecord, type VersionConfig } from '../../contracts/function.ts'
import type { GatewayDeps } from '../deps.ts'
import { guardRevision } from '../function-record.ts'
import { configurationView } from '../function-view.ts'
import { findRecord, findVersion, targetOf, unqualified } from '../lookup.ts'
import { numberKey, pageOf, pageQuery } from '../pages.ts'
import { changeAndPublish } from '../publish.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Description, FunctionConfiguration, listOf, Named, Qualified, RevisionId } from './views.ts'

const PublishBody = Type.Object({
  CodeSha256: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  Description,
  RevisionId,
})
const publishMembers = new Set(Object.keys(PublishBody.properties))

export const versionOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region } = config
  return [
    operation({
      id: 'GetFunctionConfiguration',
      summary: 'Configuration of a version',
      method: 'GET',
      url: '/2015-03-31/functions/:FunctionName/configuration',
      params: Named,
      query: Qualified,
      status: 200,
      reply: FunctionConfiguration,
      handle: async ({ caller, params, query }) => {
        const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        return configurationView(region, (await findVersion(deps, target)).version, target.qualifier)
      },
    }),
    operation({
      id: 'PublishVersion',
      summary: 'Makes $LATEST an immutable version; unchanged, the last one is the answer',
      method: 'POST',
      url: '/2015-03-31/functions/:FunctionName/versions',
      params: Named,
      body: PublishBody,
      status: 201,
      reply: FunctionConfiguration,
      errors: ['ALREADY_EXISTS', 'REVISION_MISMATCH'],
      handle: async ({ caller, params, body }) => {
        const { tenant, name } = unqualified(deps, caller.tenant, params.FunctionName)
        refuseUnsupported(body, publishMembers, name)
        const guard = (record: FunctionRecord): FunctionRecord => {
          guardRevision(record.latest.revisionId, body.RevisionId ?? undefined)
          const { codeSha256 } = record.latest
          if (body.CodeSha256 && body.CodeSha256 !== codeSha256)
            throw new PlatformError(
              'INVALID_REQUEST',
              `CodeSHA256 (${body.CodeSha256.slice(0, 64)}) is different from current CodeSHA256 in $LATEST (${codeSha256}). Please try again with the CodeSHA256 in $LATEST.`,
            )
          return record
        }
        const { version } = await changeAndPublish(registry, tenant, name, guard, body.Description)
        return configurationView(region, version)
      },
    }),
    operation({
      id: 'ListVersionsByFunction',
      summary: '$LATEST and the published versions',
      method: 'GET',
      url: '/2015-03-31/functions/:FunctionName/versions',
      params: Named,
      query: Type.Object(pageQuery),
      status: 200,
      reply: listOf('Versions', FunctionConfiguration),
      handle: async ({ caller, params, query }) => {
        const record = await findRecord(registry, unqualified(deps, caller.tenant, params.FunctionName))
        const numbered = record.versions.flatMap((number) => registry.version(record.tenant, record.name, number) ?? [])
        const { items, next } = pageOf([record.latest, ...numbered], query, versionKey)
        return { Versions: items.map((item) => configurationView(region, item, item.version)), ...next }
      },
    }),
  ]
}

const versionKey = ({ version }: VersionConfig): string => (version === latest ? '' : numberKey(Number(version)))
