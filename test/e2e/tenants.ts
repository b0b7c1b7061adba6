/** Somebody else on the same installation. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { uniqueName, type Connection } from '../support/lambda.ts'
import type { Installation } from './installation.ts'

const run = promisify(execFile)

/** A new tenant, and how its admin reaches the platform. */
export const createTenant = async (target: Installation): Promise<Connection & { readonly tenant: string }> => {
  const tenant = uniqueName('tenant')
  const env = { PATH: process.env['PATH'], FORKYARD_STATE_DIR: target.stateDir }
  const forkyard = async (...args: string[]): Promise<string> =>
    (await run(join(import.meta.dirname, '../../scripts/forkyard'), args, { env, timeout: 60_000 })).stdout
  await forkyard('principals', 'put', 'admin', '--tenant', tenant, '--role', 'admin')
  const key = JSON.parse(await forkyard('keys', 'create', 'admin', '--json', '--tenant', tenant)) as Connection
  return { ...target, accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey, tenant }
}
