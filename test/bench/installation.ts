/** The running local installation that a benchmark measures. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LambdaClient } from '@aws-sdk/client-lambda'
import { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { readConfig } from '../../services/chassis/config-file.ts'

export interface Installation {
  readonly client: LambdaClient
  readonly agent: NodeAgentConfig
}

interface ClientFile {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export const stateDir = (): string => process.env['FORKYARD_STATE_DIR'] ?? '/var/lib/forkyard/local'

export const openInstallation = (): Installation => {
  const file = join(stateDir(), 'client.json')
  if (!existsSync(file)) throw new Error(`no installation in ${stateDir()}: run ./scripts/up first`)
  const { endpoint, region, accessKeyId, secretAccessKey } = JSON.parse(readFileSync(file, 'utf8')) as ClientFile
  return {
    client: new LambdaClient({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, maxAttempts: 1 }),
    agent: readConfig(NodeAgentConfig, join(stateDir(), 'services', 'node-agent', 'config.json')),
  }
}
