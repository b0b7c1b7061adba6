/** Network policy and bindings of a function, through the platform's own endpoints. */
import type { Bindings } from '../contracts/bindings.ts'
import type { NetworkPolicy } from '../contracts/network.ts'
import { CliError } from './cli-error.ts'
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

/** Keys and passwords stand in no project file. @throws CliError naming the variable that is not set. */
export const fromVariables = (bindings: Bindings, variables: NodeJS.ProcessEnv): Bindings =>
  JSON.parse(JSON.stringify(bindings), (_key, value: unknown) =>
    typeof value === 'string'
      ? value.replaceAll(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_all, name: string) => {
          const found = variables[name]
          if (found === undefined) throw new CliError(`bindings: the variable ${name} is not set`)
          return found
        })
      : value,
  ) as Bindings

/** @param bindings null: none; undefined: they stay as they are. @throws CliError naming what is wrong. */
export const setBindings = async (
  connection: Connection,
  name: string,
  bindings: Bindings | null | undefined,
): Promise<void> => {
  if (bindings === undefined) return
  if (bindings) await putBindings(connection, name, fromVariables(bindings, process.env))
  else await deleteBindings(connection, name)
}

const bindingsPath = (name: string): string => `/forkyard/v1/functions/${encodeURIComponent(name)}/bindings`

/** @returns when they were changed, as the platform tells it. @throws CliError naming what is wrong. */
export const putBindings = async (connection: Connection, name: string, bindings: Bindings): Promise<string> => {
  const request = { method: 'PUT', path: bindingsPath(name), body: { bindings } }
  const reply = (await (await signedFetch(connection, request)).json()) as { readonly lastModified: string }
  return reply.lastModified
}

/** Done as well when there are none. */
export const deleteBindings = async (connection: Connection, name: string): Promise<void> => {
  await signedFetch(connection, { method: 'DELETE', path: bindingsPath(name) }).catch(ignoreNotFound)
}

const ignoreNotFound = (error: unknown): void => {
  if (!isNotFound(error)) throw error
}
