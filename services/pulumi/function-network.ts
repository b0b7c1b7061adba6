/** What a `Function` may reach and what it uses: the edges of the graph that a program declares. Both belong to the function, not to its versions. */
import { isDeepStrictEqual } from 'node:util'
import type { Connection } from '../cli/connection.ts'
import { deleteBindings, putBindings, setNetwork } from '../cli/network.ts'
import { isNotFound, signedFetch } from '../cli/signed-fetch.ts'
import { bindingTarget, maxBindings, type Binding, type Bindings } from '../contracts/bindings.ts'
import type { NetworkPolicy } from '../contracts/network.ts'
import { isObject, secret, unknownValue, type Properties } from './property-values.ts'

export interface WantedNetwork {
  readonly network?: NetworkPolicy
  readonly bindings?: Bindings
}

/** Members that hold credentials, by the kind of binding. */
const secretMembers: Readonly<Record<string, readonly string[]>> = {
  http: ['headers'],
  s3: ['accessKeyId', 'secretAccessKey'],
  postgresql: ['password'],
}

/** Credentials are secrets in the state, whether the program marked them so or not. */
export const withSecretCredentials = (bindings: unknown): unknown => {
  if (!isObject(bindings)) return bindings
  return Object.fromEntries(
    Object.entries(bindings).map(([name, binding]) => [name, isObject(binding) ? withSecrets(binding) : binding]),
  )
}

const withSecrets = (binding: Properties): Properties => {
  const members = secretMembers[String(binding['type'])] ?? []
  return Object.fromEntries(
    Object.entries(binding).map(([member, value]) => [
      member,
      members.includes(member) && value !== unknownValue ? secret(value) : value,
    ]),
  )
}

/** Before the new version is served: opens what the code that is about to be served needs, and leaves open what the code that is still served has. */
export const openNetwork = async (
  connection: Connection,
  name: string,
  { network, bindings }: WantedNetwork,
  before: WantedNetwork,
): Promise<void> => {
  if (network && !before.network) await setNetwork(connection, name, network)
  if (!bindings) return
  const both = { ...before.bindings, ...bindings }
  if (Object.keys(both).length <= maxBindings && !isDeepStrictEqual(both, before.bindings))
    await putBindings(connection, name, both)
}

/** Once it is served. @returns what is computed of it. */
export const bringNetwork = async (
  connection: Connection,
  name: string,
  { network, bindings }: WantedNetwork,
  before: WantedNetwork,
): Promise<Properties> => {
  if (network || before.network) await setNetwork(connection, name, network ?? null)
  if (bindings) return { bindingsModified: await putBindings(connection, name, bindings) }
  if (before.bindings) await deleteBindings(connection, name)
  return {}
}

/** As it is now. @param known as it was last */
export const readNetwork = async (
  connection: Connection,
  name: string,
  known: Properties,
): Promise<{ readonly inputs: Properties; readonly computed: Properties }> => {
  const path = `/forkyard/v1/functions/${encodeURIComponent(name)}`
  const network = await found<{ policy: NetworkPolicy }>(connection, `${path}/network-policy`)
  const bound = await found<Seen>(connection, `${path}/bindings`)
  return {
    inputs: {
      ...(network ? { network: network.policy } : {}),
      ...(bound ? { bindings: seenBindings(bound, known) } : {}),
    },
    computed: bound ? { bindingsModified: bound.lastModified } : {},
  }
}

interface Seen {
  readonly bindings: Readonly<Record<string, Properties & { readonly type: string; readonly target: string }>>
  readonly lastModified: string
}

/**
 * The platform tells no credential. Where nobody has changed anything since, they are those that are known; where somebody has, they
 * are left out, which is a difference to what is wanted.
 */
const seenBindings = ({ bindings, lastModified }: Seen, known: Properties): Properties => {
  const before = isObject(known['bindings']) ? (known['bindings'] as Bindings) : {}
  const untouched = known['bindingsModified'] === lastModified
  return Object.fromEntries(
    Object.entries(bindings).map(([name, { target, ...view }]) => {
      const last: Binding | undefined = Object.hasOwn(before, name) ? before[name] : undefined
      const same = last?.type === view.type && bindingTarget(last) === target
      if (same && untouched) return [name, (withSecretCredentials({ same: last }) as Properties)['same']]
      return [name, secretMembers[view.type] ? { ...view, target } : view]
    }),
  )
}

const found = async <T>(connection: Connection, path: string): Promise<T | undefined> => {
  try {
    return (await (await signedFetch(connection, { path })).json()) as T
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}
