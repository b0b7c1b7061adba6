/** Which invocation the code that runs now belongs to. */
import { AsyncLocalStorage } from 'node:async_hooks'

export interface RequestContext {
  readonly requestId: string
  readonly traceId: string | undefined
}

const storage = new AsyncLocalStorage<RequestContext>()
const running = new Set<RequestContext>()

export const runInContext = async <T>(context: RequestContext, run: () => Promise<T>): Promise<T> => {
  running.add(context)
  try {
    return await storage.run(context, run)
  } finally {
    running.delete(context)
  }
}

/** Code that outlives its own invocation, or was begun before any, counts to the only one that runs. */
export const currentRequest = (): RequestContext | undefined =>
  storage.getStore() ?? (running.size === 1 ? running.values().next().value : undefined)

export const runningRequests = (): readonly RequestContext[] => [...running]
