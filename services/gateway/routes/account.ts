/** Limits and use of the account, and what clients ask about features that functions here do not have. */
import { Type, type TSchema } from 'typebox'
import { functionArn } from '../../contracts/function.ts'
import { accountConcurrency } from '../account-concurrency.ts'
import type { GatewayDeps } from '../deps.ts'
import { findVersion, targetOf, type Target } from '../lookup.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named, Qualified } from './views.ts'

const AccountSettings = Type.Object({
  AccountLimit: Type.Object({
    TotalCodeSize: Type.Integer(),
    CodeSizeUnzipped: Type.Integer(),
    CodeSizeZipped: Type.Integer(),
    ConcurrentExecutions: Type.Integer(),
    UnreservedConcurrentExecutions: Type.Integer(),
  }),
  AccountUsage: Type.Object({ TotalCodeSize: Type.Integer(), FunctionCount: Type.Integer() }),
})

export const accountOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region, limits } = config
  const functions = '/functions/:FunctionName'

  /** Answered alike for every function that exists. */
  const probe = (id: string, url: string, summary: string, reply: TSchema, answer: (target: Target) => unknown) =>
    operation({
      id,
      summary,
      method: 'GET',
      url,
      params: Named,
      query: Qualified,
      status: 200,
      reply,
      handle: async ({ caller, params, query }) => {
        const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        await findVersion(deps, target)
        return answer(target)
      },
    })

  return [
    operation({
      id: 'GetAccountSettings',
      summary: 'Limits, and what is used of them',
      method: 'GET',
      url: '/2016-08-19/account-settings',
      status: 200,
      reply: AccountSettings,
      handle: async ({ caller: { tenant } }) => {
        const concurrency = await accountConcurrency(deps, tenant)
        const records = registry.list(tenant)
        const sizes = records.flatMap(({ name, latest, versions }) => [
          latest.codeSize,
          ...versions.map((number) => registry.version(tenant, name, number)?.codeSize ?? 0),
        ])
        return {
          AccountLimit: {
            // Bounded by the disk alone.
            TotalCodeSize: Number.MAX_SAFE_INTEGER,
            CodeSizeUnzipped: limits.unzippedBytes,
            CodeSizeZipped: limits.zipBytes,
            ConcurrentExecutions: concurrency.limit,
            UnreservedConcurrentExecutions: concurrency.unreserved,
          },
          AccountUsage: { TotalCodeSize: sizes.reduce((sum, size) => sum + size, 0), FunctionCount: records.length },
        }
      },
    }),
    probe(
      'GetFunctionCodeSigningConfig',
      `/2020-06-30${functions}/code-signing-config`,
      'There is no code signing',
      Type.Object({ FunctionName: Type.String() }),
      ({ name }) => ({ FunctionName: name }),
    ),
    probe(
      'GetRuntimeManagementConfig',
      `/2021-07-20${functions}/runtime-management-config`,
      'Runtimes come with the installation',
      Type.Object({ UpdateRuntimeOn: Type.String(), FunctionArn: Type.String() }),
      ({ tenant, name, qualifier }) => ({
        UpdateRuntimeOn: 'Auto',
        FunctionArn: functionArn(region, tenant, name, qualifier),
      }),
    ),
    probe(
      'GetFunctionRecursionConfig',
      `/2024-08-31${functions}/recursion-config`,
      'Functions that call each other in a loop are not stopped',
      Type.Object({ RecursiveLoop: Type.String() }),
      () => ({ RecursiveLoop: 'Allow' }),
    ),
  ]
}
