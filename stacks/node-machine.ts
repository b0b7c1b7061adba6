/** What a node makes ready on its own machine, where no stack does that over SSH: a pod of a cluster, a machine that joins. */
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { makeCheckpoint } from '../images/checkpoint.ts'
import type { RuntimeName } from '../services/contracts/function.ts'
import { CheckpointIndex, indexKeys } from '../services/node-agent/checkpoint/checkpoint-index.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../services/node-agent/config.ts'
import { kernelSettings } from './ssh/prepare-script.ts'

export type Say = (line: string) => void

export const raiseKernelSettings = (say: Say): void => {
  for (const [name, wanted] of Object.entries(kernelSettings)) {
    const path = `/proc/sys/${name.replaceAll('.', '/')}`
    if (Number(readFileSync(path, 'utf8')) >= wanted) continue
    try {
      writeFileSync(path, String(wanted))
      say(`${name} is raised to ${wanted}`)
    } catch (error) {
      say(`${name} cannot be raised to ${wanted}: ${(error as Error).message}`)
    }
  }
}

export interface CheckpointPlace {
  readonly outDir: string
  /** Of the builder of checkpoints. */
  readonly inputsDigest: string
}

/** Checkpoints are bound to a CPU's features, so each machine makes its own. */
export const makeNodeCheckpoints = async (
  agent: Pick<NodeAgentConfig, 'nodeId' | 'runscPath' | 'addonPath' | 'runtimes' | 'environmentKeys'>,
  { outDir, inputsDigest }: CheckpointPlace,
  say: Say,
): Promise<NodeAgentConfig['runtimes']> => {
  const { nodeId, runscPath: runsc, addonPath: addon, runtimes } = agent
  const made: [string, RuntimeFiles][] = []
  // What was made here before is taken if the index says so, which is authenticated with what only the installation has.
  const keys = indexKeys(agent.environmentKeys, `of runtimes on ${nodeId}`)
  await mkdir(outDir, { recursive: true })
  const index = new CheckpointIndex(`${outDir}.json`, keys, (error) =>
    say(`the index of checkpoints is not this node’s own, they are made anew: ${String(error)}`),
  )
  for (const [name, files] of Object.entries(runtimes)) {
    const input = { image: files.imagePath, runsc, prebuilt: { addon, inputsDigest } }
    const report = (line: string) => say(`${name}: ${line}`)
    const { checkpointPath, key, digest } = await makeCheckpoint(name as RuntimeName, outDir, input, report, index)
    made.push([name, { ...files, checkpointPath, checkpointKey: key, checkpointDigest: digest }])
  }
  return Object.fromEntries(made) as NodeAgentConfig['runtimes']
}
