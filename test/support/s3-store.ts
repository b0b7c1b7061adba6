/** A real S3-compatible store that somebody else wrote (Versity S3 Gateway), on loopback, in a directory of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../../scripts/free-ports.ts'
import { toolPath } from '../../scripts/setup/paths.ts'

export interface TestStore {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  stop(): Promise<void>
}

export const startStore = async (host = '127.0.0.1'): Promise<TestStore> => {
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-s3-'))
  const port = await freePort(host)
  const [region, accessKeyId, secretAccessKey] = ['us-east-1', 'store-key', 'the secret of the store']
  const keys = { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey }
  // Beside the objects: not every file system of a machine has extended attributes.
  const args = [
    '--port',
    `${host}:${port}`,
    '--region',
    region,
    '--quiet',
    'posix',
    '--sidecar',
    join(dir, 'meta'),
    join(dir, 'data'),
  ]
  for (const sub of ['meta', 'data']) mkdirSync(join(dir, sub))
  const server = spawn(toolPath('versitygw'), args, { env: { ...process.env, ...keys }, stdio: 'ignore' })
  const stop = async (): Promise<void> => {
    if (server.exitCode === null) {
      const gone = once(server, 'exit')
      server.kill('SIGKILL')
      await gone
    }
    rmSync(dir, { recursive: true, force: true })
  }
  const endpoint = `http://${host}:${port}`
  for (let tries = 0; ; tries++) {
    const reply = await fetch(endpoint).catch((error: unknown) => error)
    if (reply instanceof Response) return { endpoint, region, accessKeyId, secretAccessKey, stop }
    if (tries > 100) {
      await stop()
      throw new Error('the store does not answer', { cause: reply })
    }
    await delay(100)
  }
}
