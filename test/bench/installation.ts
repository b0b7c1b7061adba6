/** A scratch installation for one benchmark: nobody else's load is in the figures, and nobody's settings. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LambdaClient } from '@aws-sdk/client-lambda'
import { createScratchStack } from '../../scripts/scratch-stack.ts'
import type { Premises } from '../../scripts/place.ts'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { ownerVariable } from '../../stacks/host-scripts/processes.ts'
import { lambdaClient, type Connection } from '../support/lambda.ts'
import { createSignedClient, type SignedClient } from './signed-invocation.ts'

export interface Installation {
  readonly client: LambdaClient
  readonly signed: SignedClient
  readonly agent: NodeAgentConfig
  readonly premises: Premises
  readonly connection: Connection
}

/** @param settings of the stack, by key. */
export const withInstallation = async <T>(
  settings: Readonly<Record<string, string>>,
  progress: (line: string) => void,
  use: (installation: Installation) => Promise<T>,
): Promise<T> => {
  process.env[ownerVariable] = `bench-${process.pid}`
  await prepareMachine()
  progress('bringing up a scratch stack')
  const { premises, connection, remove } = await createScratchStack(() => undefined, settings)
  const signed = createSignedClient(connection)
  try {
    const file = join(premises.stateDir, 'services', 'node-agent', 'config.json')
    const agent = JSON.parse(readFileSync(file, 'utf8')) as NodeAgentConfig
    return await use({ client: lambdaClient(connection), signed, agent, premises, connection })
  } finally {
    await signed.close()
    progress('taking it down')
    await remove()
  }
}
