/**
 * Runs before the agent in its pod: raises the kernel settings that sandboxes need, makes the runtimes' checkpoints unless the node has them
 * (they are bound to its CPU's features), and writes the agent's configuration with what is of this node.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname } from 'node:path'
import { makeCheckpoint } from '../../../images/checkpoint.ts'
import { readConfig } from '../../../services/chassis/config-file.ts'
import type { RuntimeName } from '../../../services/contracts/function.ts'
import { CheckpointIndex, indexKeys } from '../../../services/node-agent/checkpoint/checkpoint-index.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../../../services/node-agent/config.ts'
import { shareOfMemory } from '../../config.ts'
import { kernelSettings } from '../../ssh/prepare-script.ts'
import { nodeIdOf } from './node-id.ts'
import { NodeTemplate, podPaths } from './node-template.ts'

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const variable = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`the environment variable ${name} is missing`)
  return value
}

const raiseKernelSettings = (): void => {
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

type Agent = Omit<NodeAgentConfig, 'capacity'> & { readonly capacity: Partial<NodeAgentConfig['capacity']> }

const withCheckpoints = async (
  agent: Agent,
  nodeId: string,
  { outDir, inputsDigest }: NonNullable<NodeTemplate['checkpoints']>,
): Promise<NodeAgentConfig['runtimes']> => {
  const { runscPath: runsc, addonPath: addon, runtimes } = agent
  const made: [string, RuntimeFiles][] = []
  // What the last pod left on the node is taken if the index says so, which is authenticated with what only the installation has.
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

const template = readConfig(NodeTemplate, podPaths.template)
const agent = template.agent as unknown as Agent
raiseKernelSettings()
const nodeId = nodeIdOf(template.installation, variable('NODE_NAME'))
const runtimes = template.checkpoints ? await withCheckpoints(agent, nodeId, template.checkpoints) : agent.runtimes
const config = {
  ...agent,
  nodeId,
  listen: { ...agent.listen, host: variable('POD_IP') },
  ...(agent.peers ? { peers: { ...agent.peers, listen: { ...agent.peers.listen, host: variable('POD_IP') } } } : {}),
  capacity: { memoryMiB: shareOfMemory(Math.floor(totalmem() / 1024 ** 2)), ...agent.capacity },
  runtimes,
}
await mkdir(dirname(podPaths.config), { recursive: true, mode: 0o700 })
writeFileSync(podPaths.config, JSON.stringify(config), { mode: 0o600 })
