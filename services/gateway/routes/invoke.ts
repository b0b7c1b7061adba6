/** Invoke: synchronous, queued, or only checked. */
import { Type } from 'typebox'
import type { GatewayDeps } from '../deps.ts'
import { sendStream } from '../invoke/send-stream.ts'
import { wholeAnswer } from '../invoke/whole-answer.ts'
import { targetOf } from '../lookup.ts'
import { goneSignal, invokeHeaders, payloadSchema, readInvocation, type EventInvocation } from './invocation-request.ts'
import { operation, type AnyOperation, type Call } from './operation.ts'
import { Named, Qualified } from './views.ts'

type InvokeCall = Call<{ FunctionName: string }, { Qualifier?: string }, unknown>

export const invokeOperations = (deps: GatewayDeps): AnyOperation[] => [
  operation({
    id: 'Invoke',
    summary: 'Runs a function; its answer is the body, an error of the function is marked by X-Amz-Function-Error',
    method: 'POST',
    url: '/2015-03-31/functions/:FunctionName/invocations',
    params: Named,
    query: Qualified,
    headers: invokeHeaders(['RequestResponse', 'Event', 'DryRun']),
    body: payloadSchema,
    bodyKind: 'payload',
    status: 200,
    reply: Type.Unknown({ description: 'the answer of the handler' }),
    empty: { 202: 'queued (Event)', 204: 'it could be invoked (DryRun)' },
    errors: [
      'INVALID_REQUEST_CONTENT',
      'RESPONSE_TOO_LARGE',
      'START_FAILED',
      'INSTANCE_LOST',
      'NO_CAPACITY',
      'DEADLINE_EXCEEDED',
    ],
    handle: async (call) => {
      const { caller, params, query, request, reply } = call
      const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
      const invocation = await readInvocation(deps, request, target)
      const type = request.headers['x-amz-invocation-type']
      if (type === 'DryRun') return reply.code(204).send()
      if (type !== 'Event') return invokeNow(deps, call, invocation)
      const { invocationId, clientContext, traceparent } = invocation
      await deps.queue.push(
        {
          invocationId,
          tenant: target.tenant,
          name: target.name,
          ...(target.qualifier === undefined ? {} : { qualifier: target.qualifier }),
          acceptedAt: Date.now(),
          ...(clientContext === undefined ? {} : { clientContext }),
          ...(traceparent === undefined ? {} : { traceparent }),
        },
        invocation.body,
      )
      return reply.code(202).send()
    },
  }),
]

const invokeNow = async (deps: GatewayDeps, { request, reply }: InvokeCall, invocation: EventInvocation) => {
  const tail = request.headers['x-amz-log-type'] === 'Tail'
  const { receivedAt, authMs } = request
  const wish = { tail, receivedAt, authMs }
  const answer = await wholeAnswer(deps, { ...invocation, signal: goneSignal(reply) }, wish)
  reply.hijack()
  await sendStream(reply.raw, answer)
  return reply
}
