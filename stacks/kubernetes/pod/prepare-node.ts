/**
 * Runs before the agent in its pod: raises the kernel settings that sandboxes need, makes the runtimes' checkpoints unless the node has them
 * (they are bound to its CPU's features), and writes the agent's configuration with what is of this node.
 */
import { writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname } from 'node:path'
import { readConfig } from '../../../services/chassis/config-file.ts'
import type { NodeAgentConfig } from '../../../services/node-agent/config.ts'
import { shareOfMemory } from '../../config.ts'
import { makeNodeCheckpoints, raiseKernelSettings } from '../../node-machine.ts'
import { nodeIdOf } from './node-id.ts'
import { NodeTemplate, podPaths } from './node-template.ts'

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const variable = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`the environment variable ${name} is missing`)
  return value
}

type Agent = Omit<NodeAgentConfig, 'capacity'> & { readonly capacity: Partial<NodeAgentConfig['capacity']> }

const template = readConfig(NodeTemplate, podPaths.template)
const agent = template.agent as unknown as Agent
raiseKernelSettings(say)
const nodeId = nodeIdOf(template.installation, variable('NODE_NAME'))
const runtimes = template.checkpoints
  ? await makeNodeCheckpoints({ ...agent, nodeId }, template.checkpoints, say)
  : agent.runtimes
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
