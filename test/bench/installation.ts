/** The running local installation that a benchmark measures. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LambdaClient } from '@aws-sdk/client-lambda'
import { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { readConfig } from '../../services/chassis/config-file.ts'
import { lambdaClient, type Connection } from '../support/lambda.ts'

export interface Installation {
  readonly client: LambdaClient
  readonly agent: NodeAgentConfig
}

export const stateDir = (): string => process.env['FORKYARD_STATE_DIR'] ?? '/var/lib/forkyard/local'

export const openInstallation = (): Installation => {
  const file = join(stateDir(), 'client.json')
  if (!existsSync(file)) throw new Error(`no installation in ${stateDir()}: run ./scripts/up first`)
  return {
    client: lambdaClient(JSON.parse(readFileSync(file, 'utf8')) as Connection),
    agent: readConfig(NodeAgentConfig, join(stateDir(), 'services', 'node-agent', 'config.json')),
  }
}
