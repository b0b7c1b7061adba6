/** Deploys `examples/hello` and calls it, through the CLI's own code. */
import { join } from 'node:path'
import { packArchive } from '../services/cli/archive.ts'
import { bundleFunction } from '../services/cli/bundle.ts'
import { findConnection, lambdaClient } from '../services/cli/connection.ts'
import { deploy } from '../services/cli/deploy.ts'
import { invoke } from '../services/cli/invoke.ts'
import { readProjectFile } from '../services/cli/project-file.ts'
import { renderWaterfall } from '../services/cli/waterfall.ts'
import { repoRoot } from './setup/paths.ts'

export interface Greeting {
  readonly version: string
  readonly answer: string
  /** Drawn; empty when the reply has no timing. */
  readonly waterfall: string
}

/** @throws Error when the function fails, or answers with something else than its greeting. */
export const sayHello = async (stateDir: string): Promise<Greeting> => {
  const connection = findConnection({ FORKYARD_STATE_DIR: stateDir })
  const directory = join(repoRoot, 'examples', 'hello')
  const project = readProjectFile(directory)
  const functionName = project.name ?? 'hello'
  const bundle = await bundleFunction(directory, project)
  const zip = await packArchive(bundle.files)
  const { version } = await deploy(lambdaClient(connection), functionName, project, bundle, zip)
  const parts: Uint8Array[] = []
  const payload = Buffer.from(JSON.stringify({ name: 'Forkyard' }))
  const call = {
    functionName,
    payload,
    tail: false,
    mode: 'sync',
    write: (bytes: Uint8Array) => void parts.push(bytes),
  } as const
  const { functionError, serverTiming } = await invoke(lambdaClient(connection, 1), call)
  const answer = Buffer.concat(parts).toString()
  if (functionError || !answer.includes('Hello, Forkyard!')) throw new Error(`examples/hello answered ${answer}`)
  return { version, answer, waterfall: serverTiming ? renderWaterfall(serverTiming) : '' }
}
