/** Changes of `$LATEST`: its code, its configuration. Each makes a new revision. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import type { FunctionRecord } from '../../contracts/function.ts'
import { takeCode } from '../deploy.ts'
import type { GatewayDeps } from '../deps.ts'
import { guardRevision, stamp } from '../function-record.ts'
import { configurationView } from '../function-view.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { requirePool } from '../pools.ts'
import { changeAndPublish } from '../publish.ts'
import { settingMembers, settingsFrom } from '../settings.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { operation, type AnyOperation } from './operation.ts'
import { FunctionConfiguration, Named, RevisionId } from './views.ts'

const flag = Type.Optional(Type.Union([Type.Boolean(), Type.Null()]))
const CodeBody = Type.Object({
  ZipFile: Type.Optional(Type.String({ description: 'the zip, base64' })),
  Publish: flag,
  DryRun: flag,
  RevisionId,
})
const codeMembers = new Set(Object.keys(CodeBody.properties))

const ConfigurationBody = Type.Object({ ...settingMembers, RevisionId })
const configurationMembers = new Set(Object.keys(ConfigurationBody.properties))

export const updateOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region, limits } = config
  return [
    operation({
      id: 'UpdateFunctionCode',
      summary: 'Replaces the code of $LATEST',
      method: 'PUT',
      url: '/2015-03-31/functions/:FunctionName/code',
      params: Named,
      body: CodeBody,
      bodyKind: 'code',
      status: 200,
      reply: FunctionConfiguration,
      errors: ['ALREADY_EXISTS', 'CODE_TOO_LARGE', 'INVALID_ARCHIVE', 'REVISION_MISMATCH'],
      handle: async ({ caller, params, body, request }) => {
        const target = unqualified(deps, caller.tenant, params.FunctionName)
        const { tenant, name } = target
        refuseUnsupported(body, codeMembers, name)
        const revision = body.RevisionId ?? undefined
        const { latest } = await findRecord(registry, target)
        guardRevision(latest.revisionId, revision)
        const zip = await request.bytesOf?.(body.ZipFile ?? '')
        if (!zip || zip.length === 0) throw new PlatformError('INVALID_REQUEST', 'ZipFile is required')
        const { runtime, handler } = latest
        const dryRun = body.DryRun === true
        const code = await takeCode(deps, { zip, runtime, handler, dryRun })
        if (dryRun) return configurationView(region, { ...latest, ...code })
        const change = (record: FunctionRecord): FunctionRecord => {
          guardRevision(record.latest.revisionId, revision)
          return { ...record, latest: stamp({ ...record.latest, ...code }) }
        }
        if (body.Publish) {
          const { version } = await changeAndPublish(registry, tenant, name, change)
          return configurationView(region, version)
        }
        return configurationView(region, (await registry.update(tenant, name, change)).latest)
      },
    }),
    operation({
      id: 'UpdateFunctionConfiguration',
      summary: 'Changes settings of $LATEST; what is not given stays',
      method: 'PUT',
      url: '/2015-03-31/functions/:FunctionName/configuration',
      params: Named,
      body: ConfigurationBody,
      status: 200,
      reply: FunctionConfiguration,
      errors: ['ALREADY_EXISTS', 'UNKNOWN_RUNTIME', 'REVISION_MISMATCH'],
      handle: async ({ caller, params, body }) => {
        const { tenant, name } = unqualified(deps, caller.tenant, params.FunctionName)
        refuseUnsupported(body, configurationMembers, name)
        const { latest } = await registry.update(tenant, name, (record) => {
          guardRevision(record.latest.revisionId, body.RevisionId ?? undefined)
          const settings = settingsFrom(body, record.latest, limits.environmentBytes)
          const environment = { ...settings.environment }
          const latest = stamp({ ...record.latest, ...settings, environment })
          return requirePool(config.pools, { ...record, latest })
        })
        return configurationView(region, latest)
      },
    }),
  ]
}
