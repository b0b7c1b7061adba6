/** `http://NAME.internal`: the function's request as it is, answered as the called function answers. */
import { callHeaders } from '../../contracts/calls.ts'
import { accountIdOf, functionArn, latest } from '../../contracts/function.ts'
import type { CallingFunction } from '../../contracts/node.ts'
import { sendAnswer } from '../function-url/answer.ts'
import { calledHeaders } from '../function-url/headers.ts'
import { bodyLimit, invokeHttp } from '../function-url/invoke-http.ts'
import { traceparentOf } from '../invoke/traceparent.ts'
import { declaredBytes } from '../routes/read-body.ts'
import { authorizeCall } from './authorize-call.ts'
import { single, type Call, type CallDeps } from './call.ts'

export const answerHttp = async (deps: CallDeps, call: Call): Promise<void> => {
  const { request, response, requestId, receivedAt, ticket, hops, binding } = call
  const bound = await deps.functionBindings.find(ticket.tenant, ticket.name, (_binding, name) => name === binding)
  const { tenant, name, qualifier = latest } = await authorizeCall(deps, ticket, bound)
  const authMs = performance.now() - receivedAt
  response.once('close', deps.bodies.take(declaredBytes(request, bodyLimit(deps))))
  const caller = callerOf(deps, call)
  const traceparent = traceparentOf(request.headers['traceparent'])
  const from = {
    headers: calledHeaders(request.rawHeaders, request.headers.connection, { caller, traceparent }),
    urlId: binding,
    sourceIp: '',
    caller,
  }
  const http = { request, response, requestId, from, streamed: true, traceparent, hops }
  const invoked = await invokeHttp(deps, { ...http, target: { tenant, name, qualifier } })
  const { placeMs, waitedMs, sentAt } = invoked
  const phases = { receivedAt, authMs, placeMs, waitedMs, sentAt }
  await sendAnswer(deps, { response, requestId, invoked, phases, cors: {}, streamed: true })
}

const callerOf = ({ config: { region } }: CallDeps, { ticket, request }: Call): CallingFunction => {
  const { tenant, name, version, invocationId } = ticket
  return {
    arn: functionArn(region, tenant, name, version),
    account: accountIdOf(tenant),
    name,
    version,
    // Of several that run side by side nobody can tell which one called.
    ...(single(request, callHeaders.shared) === '1' ? {} : { invocationId }),
  }
}
