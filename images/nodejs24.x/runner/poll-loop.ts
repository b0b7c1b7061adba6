/** Pulls requests, one slot beside the other, for as long as the process lives. */
import { logLine } from './console.ts'
import { errorBody, type ErrorBody } from './error-body.ts'
import type { Served } from './handler-kind.ts'
import { toInvocation, type Invocation } from './invocation.ts'
import { wakeWatch } from './native.ts'
import { runInContext } from './request-context.ts'
import { RuntimeApi } from './runtime-api.ts'

const running = new Map<string, Invocation>()

/** Never returns. Rejects when the node cannot be reached: then the instance is over. */
export const pollForever = async (socketPath: string, served: Served, concurrency: number): Promise<never> => {
  const slots = Array.from({ length: concurrency }, () =>
    pollSlot(new RuntimeApi(socketPath), served, concurrency === 1),
  )
  return (await Promise.all(slots))[0] as never
}

const pollSlot = async (api: RuntimeApi, served: Served, alone: boolean): Promise<never> => {
  for (;;) await serveNext(api, served, alone)
}

/** Pulls one request and answers it. `alone`: no other is served at the same time. */
export const serveNext = async (api: RuntimeApi, { kind, serve }: Served, alone: boolean): Promise<void> => {
  const invocation = toInvocation(api, await api.next(kind))
  wakeWatch()
  const { requestId, traceId } = invocation
  // One process has one environment: with several requests at a time it could only name one of them.
  if (alone) setTraceId(traceId)
  running.set(requestId, invocation)
  try {
    await runInContext({ requestId, traceId }, async () => {
      try {
        await serve(invocation)
      } catch (error) {
        await report(invocation, errorBody(error))
      }
    })
  } finally {
    running.delete(requestId)
  }
}

const setTraceId = (traceId: string | undefined): void => {
  if (traceId === undefined) delete process.env['_X_AMZN_TRACE_ID']
  else process.env['_X_AMZN_TRACE_ID'] = traceId
}

const report = async ({ api, requestId }: Invocation, error: ErrorBody): Promise<void> => {
  logLine('ERROR', `Invoke Error \t${JSON.stringify(error)}`)
  await api.fail(requestId, error)
}

/** What nobody caught fails the invocation in which it happened, or all, when that cannot be told. */
export const failRunning = async (
  socketPath: string,
  requestId: string | undefined,
  error: ErrorBody,
): Promise<void> => {
  const affected = requestId !== undefined && running.has(requestId) ? [requestId] : [...running.keys()]
  // Other connections than the slots': those may be in the middle of an answer.
  await Promise.allSettled(affected.map((id) => new RuntimeApi(socketPath).fail(id, error)))
}
