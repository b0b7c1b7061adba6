/** Requests that come whatever becomes of those before, for as long as something else goes on. */
import { lambdaClient, type Connection } from '../../../services/cli/connection.ts'
import { invoke } from '../../support/lambda.ts'

/** A client tries so often, as AWS SDKs do. */
const tries = 10
const everyMs = 300

export interface Load {
  readonly calls: number
  /** What went wrong, by request. */
  readonly failed: readonly unknown[]
}

/** A client each: all requests of one have a number of tries together. */
const callPatiently = async (connection: Connection, name: string): Promise<unknown[]> => {
  try {
    await invoke(lambdaClient(connection, tries), name, { word: 'load' })
    return []
  } catch (error) {
    return [error]
  }
}

/** @param name of a function @param say told how many there were */
export const underLoad = async <T>(
  { connection, name, say }: { connection: Connection; name: string; say: (line: string) => void },
  action: () => Promise<T>,
): Promise<Load & { readonly result: T }> => {
  const calls: Promise<unknown[]>[] = []
  const load = setInterval(() => calls.push(callPatiently(connection, name)), everyMs)
  const result = await action().finally(() => clearInterval(load))
  const failed = (await Promise.all(calls)).flat()
  say(`${calls.length} requests, ${failed.length} failed`)
  return { calls: calls.length, failed, result }
}
