/** The network policy of a function, through the platform's own endpoint. */
import type { NetworkPolicy } from '../contracts/network.ts'
import type { Connection } from './connection.ts'
import { isNotFound, signedFetch } from './signed-fetch.ts'

/** @param policy null: none, and so no network; undefined: stays as it is. @throws CliError naming the rule that is wrong. */
export const setNetwork = async (
  connection: Connection,
  name: string,
  policy: NetworkPolicy | null | undefined,
): Promise<void> => {
  if (policy === undefined) return
  const path = `/forkyard/v1/functions/${encodeURIComponent(name)}/network-policy`
  if (policy) await signedFetch(connection, { method: 'PUT', path, body: policy })
  else await signedFetch(connection, { method: 'DELETE', path }).catch(ignoreNotFound)
}

const ignoreNotFound = (error: unknown): void => {
  if (!isNotFound(error)) throw error
}
