/** `(event, context)` and `(event, context, callback)` handlers. */
import { RuntimeError } from './error-body.ts'
import { neverSettled, whenLoopIsEmpty } from './event-loop.ts'
import { lambdaContext, parseEvent, type Invocation, type LambdaContext } from './invocation.ts'

type Callback = (error?: unknown, result?: unknown) => void
export type LambdaHandler = (event: unknown, context: LambdaContext, callback: Callback) => unknown

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'

/** @throws what the handler threw, rejected with, or gave its callback. */
export const callLambdaHandler = async (
  handler: LambdaHandler,
  event: unknown,
  context: LambdaContext,
): Promise<unknown> => {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  let takesCallback = handler.length >= 3
  let called = false
  const forget = whenLoopIsEmpty(() => {
    if (takesCallback) resolve(null)
    else reject(neverSettled())
  })
  const callback: Callback = (error, result) => {
    if (called) return
    called = true
    forget()
    takesCallback = true
    if (error !== undefined && error !== null) reject(error)
    else if (context.callbackWaitsForEmptyEventLoop) whenLoopIsEmpty(() => resolve(result))
    else resolve(result)
  }
  try {
    const returned = handler(event, context, callback)
    if (isThenable(returned)) {
      takesCallback = false
      returned.then(resolve, reject)
    } else if (!takesCallback) resolve(returned)
    return await promise
  } finally {
    forget()
  }
}

/** @throws RuntimeError Runtime.MarshalError when the result has no JSON. */
export const toJson = (result: unknown): string => {
  let json: string | undefined
  try {
    json = JSON.stringify(result === undefined ? null : result)
  } catch (error) {
    throw new RuntimeError('Runtime.MarshalError', `Unable to stringify response body: ${String(error)}`, {
      cause: error,
    })
  }
  if (json === undefined)
    throw new RuntimeError('Runtime.MarshalError', `Unable to stringify response body: a ${typeof result} has no JSON`)
  return json
}

export const serveLambda =
  (handler: LambdaHandler) =>
  async (invocation: Invocation): Promise<void> => {
    const result = await callLambdaHandler(handler, parseEvent(invocation.body as Buffer), lambdaContext(invocation))
    await invocation.api.respond(invocation.requestId, 'application/json', toJson(result))
  }
