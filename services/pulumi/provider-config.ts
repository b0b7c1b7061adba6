/** Which installation the provider talks to: its own configuration, else what the command `forkyard` would take. */
import { findConnection, type Connection } from '../cli/connection.ts'
import { holdsUnknown, secret, type Properties } from './property-values.ts'
import type { CheckFailure } from './resource-kind.ts'

const own = ['endpoint', 'region', 'accessKeyId', 'secretAccessKey'] as const

/** Of the engine. */
const foreign = new Set(['version', 'pluginDownloadURL', '__internal'])

export const checkProviderConfig = (given: Properties): CheckFailure[] => {
  const unknown = Object.keys(given)
    .filter((key) => !foreign.has(key) && !own.some((name) => name === key))
    .map((property) => ({ property, reason: `unknown key. Valid are ${own.join(', ')}` }))
  const { endpoint, accessKeyId, secretAccessKey } = given
  const failures: CheckFailure[] = [...unknown]
  const url = typeof endpoint === 'string' ? endpoint : undefined
  if (url !== undefined && !holdsUnknown(url) && !/^https?:\/\/[^\s/]+/.test(url))
    failures.push({ property: 'endpoint', reason: `'${url}' is no http or https address` })
  const parts = [endpoint, accessKeyId, secretAccessKey].filter((part) => part !== undefined)
  if (parts.length > 0 && parts.length < 3)
    failures.push({ property: 'endpoint', reason: 'needs accessKeyId and secretAccessKey, and they need an endpoint' })
  return failures
}

/** Whatever way the key came, it is a secret in the stack's state. */
export const completeProviderConfig = (given: Properties): Properties => {
  const { secretAccessKey } = given
  return typeof secretAccessKey === 'string' && !holdsUnknown(secretAccessKey)
    ? { ...given, secretAccessKey: secret(secretAccessKey) }
    : given
}

/**
 * Without an endpoint: the AWS variables of the environment, else the local installation (`FORKYARD_STATE_DIR`); then no
 * credentials are in the stack's state at all.
 * @throws CliError when there is nothing to connect to
 */
export const connectionOf = (given: Properties): Connection => {
  const { endpoint, region = 'us-east-1', accessKeyId, secretAccessKey } = given
  if (endpoint === undefined) return findConnection(process.env)
  const texts = { endpoint, region, accessKeyId, secretAccessKey }
  if (holdsUnknown(texts)) throw new Error('the endpoint of the provider is not known yet')
  return Object.fromEntries(Object.entries(texts).map(([key, value]) => [key, String(value)])) as unknown as Connection
}
