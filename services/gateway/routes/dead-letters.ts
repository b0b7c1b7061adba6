/** Asynchronous events whose attempts are used up: see why, put them back. */
import { Type } from 'typebox'
import type { GatewayDeps } from '../deps.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named } from './views.ts'

const maxRedrive = 1000
const maxListed = 100
const maxListedBytes = 6 * 1024 * 1024

const Letter = Type.Object({
  invocationId: Type.String(),
  qualifier: Type.Optional(Type.String()),
  /** Epoch milliseconds. */
  acceptedAt: Type.Integer(),
  failedAt: Type.Integer(),
  attempts: Type.Integer({ description: 'times that the function ran' }),
  error: Type.Object({ type: Type.String(), message: Type.String() }),
  payload: Type.String({ description: 'base64' }),
})

const base = '/forkyard/v1/functions/:FunctionName/dead-letters'

export const deadLetterOperations = (deps: GatewayDeps): AnyOperation[] => {
  const nameOf = async (tenant: string, functionName: string): Promise<string> =>
    (await findRecord(deps.registry, unqualified(deps, tenant, functionName))).name
  return [
    operation({
      id: 'ListDeadLetters',
      summary: 'Events that were given up, oldest first',
      method: 'GET',
      url: base,
      params: Named,
      query: Type.Object({
        after: Type.Optional(Type.Integer({ minimum: 0, description: '`next` of the page before' })),
        max: Type.Optional(Type.Integer({ minimum: 1, maximum: maxListed })),
      }),
      status: 200,
      reply: Type.Object({ deadLetters: Type.Array(Letter), next: Type.Optional(Type.Integer()) }),
      handle: async ({ caller, params, query: { after = 0, max = 50 } }) => {
        const name = await nameOf(caller.tenant, params.FunctionName)
        const letters = await deps.deadLetters.list(caller.tenant, name, after + 1, max, maxListedBytes)
        const last = letters.at(-1)
        return {
          deadLetters: letters.map(({ letter, payload }) => ({
            invocationId: letter.invocationId,
            ...(letter.qualifier === undefined ? {} : { qualifier: letter.qualifier }),
            acceptedAt: letter.acceptedAt,
            failedAt: letter.failedAt,
            attempts: letter.attempts,
            error: letter.error,
            payload: Buffer.from(payload).toString('base64'),
          })),
          ...(last ? { next: last.seq } : {}),
        }
      },
    }),
    operation({
      id: 'RedriveDeadLetters',
      summary: 'Puts the oldest dead letters back into the queue, each as a new invocation',
      method: 'POST',
      url: `${base}/redrive`,
      params: Named,
      body: Type.Object({ max: Type.Optional(Type.Integer({ minimum: 1, maximum: maxRedrive, default: 100 })) }),
      status: 200,
      reply: Type.Object({
        redriven: Type.Array(Type.Object({ invocationId: Type.String(), redriveOf: Type.String() })),
      }),
      handle: async ({ caller, params, body: { max = 100 } }) => {
        const name = await nameOf(caller.tenant, params.FunctionName)
        return { redriven: await deps.deadLetters.redrive(caller.tenant, name, max) }
      },
    }),
  ]
}
