/** Somebody else on the same installation. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { uniqueName, type Connection } from '../support/lambda.ts'

const run = promisify(execFile)

/**
 * A new tenant, and how its admin reaches the platform.
 *
 * @param target as an operator reaches it
 * @param tenant absent: a name that nobody has
 */
export const createTenant = async (
  { endpoint, region, accessKeyId, secretAccessKey }: Connection,
  tenant = uniqueName('tenant'),
): Promise<Connection & { readonly tenant: string }> => {
  const env = {
    PATH: process.env['PATH'],
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  }
  const forkyard = async (...args: string[]): Promise<string> =>
    (await run(join(import.meta.dirname, '../../scripts/forkyard'), args, { env, timeout: 60_000 })).stdout
  await forkyard('principals', 'put', 'admin', '--tenant', tenant, '--role', 'admin')
  const key = JSON.parse(await forkyard('keys', 'create', 'admin', '--json', '--tenant', tenant)) as Connection
  return { endpoint, region, accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey, tenant }
}
