/** Runs the agent of a machine that has joined, from a bundle. Idempotent; from another bundle it is an upgrade. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { ServiceTls } from '../../services/chassis/internal-tls.ts'
import { JoinedConfig } from '../../services/contracts/joining.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { mergedConfig, type MachineConfig } from '../../services/node-agent/joining/merged-config.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { urlHost } from '../config.ts'
import { cgroupParent } from '../host-scripts/leftovers.ts'
import { ensureService } from '../host-scripts/service.ts'
import { makeNodeCheckpoints, type Say } from '../node-machine.ts'
import { shutPort } from './firewall.ts'
import { machine, paths } from './machine.ts'
import { bundlePaths, type BundleManifest } from './node-bundle.ts'

/** What a gateway answered, kept so that a run that was cut short needs no other token. */
export const Received = Type.Object({
  said: JoinedConfig,
  tls: Type.Optional(ServiceTls),
  listen: Type.Object({ host: Type.String(), port: Type.Integer() }),
})
export type Received = Static<typeof Received>

export const readReceived = (): Received | undefined =>
  existsSync(paths.received) ? Value.Parse(Received, JSON.parse(readFileSync(paths.received, 'utf8'))) : undefined

/** The agent's configuration as it is; none before the agent was first started. */
export const readAgentConfig = (): MachineConfig | undefined =>
  existsSync(paths.config) ? (JSON.parse(readFileSync(paths.config, 'utf8')) as MachineConfig) : undefined

/** The agent's, but for its checkpoints. */
const configOf = (received: Received, ofMachine: MachineConfig): MachineConfig => {
  const before = readAgentConfig()
  // The agent has written what gateways said since, and another certificate.
  if (before?.['nodeId'] === received.said.nodeId) return { ...before, ...ofMachine }
  return { ...mergedConfig(received.said.agent, ofMachine), ...(received.tls ? { tls: received.tls } : {}) }
}

const imagesOf = (manifest: BundleManifest, at: (path: string) => string): NodeAgentConfig['runtimes'] =>
  Object.fromEntries(
    manifest.runtimes.map((runtime) => {
      const path = bundlePaths.image(runtime)
      const command = [...runtimeCommands[runtime as RuntimeName]]
      return [runtime, { imagePath: at(path), imageDigest: manifest.files[path] ?? '', command }]
    }),
  ) as NodeAgentConfig['runtimes']

export interface Installed {
  /** Directory of the bundle, which is used in place. */
  readonly bundle: string
  readonly manifest: BundleManifest
  readonly received: Received
  readonly capacity: NodeAgentConfig['capacity']
}

/** Resolves when the agent is ready; the one before has answered what it had. @returns id of the node */
export const installNode = async ({ bundle, manifest, received, capacity }: Installed, say: Say): Promise<string> => {
  const at = (path: string): string => join(bundle, path)
  const { said, listen } = received
  const ofMachine = {
    listen,
    stateDir: paths.agentState,
    runDir: machine.runDir,
    runscPath: at(bundlePaths.runsc),
    addonPath: at(bundlePaths.addon),
    cgroupParent: cgroupParent(machine.installation),
    runtimes: imagesOf(manifest, at),
    capacity,
  }
  const place = { outDir: paths.checkpoints, inputsDigest: manifest.checkpointInputs }
  const runtimes = await makeNodeCheckpoints(configOf(received, ofMachine) as unknown as NodeAgentConfig, place, say)
  // Read again: an agent that runs may have taken another certificate meanwhile.
  const config = { ...configOf(received, ofMachine), runtimes } as unknown as NodeAgentConfig
  await shutPort(config)
  mkdirSync(machine.runDir, { recursive: true, mode: 0o711 })
  const { tls } = config
  const url = `${tls ? 'https' : 'http'}://${urlHost(listen.host)}:${listen.port}/readyz`
  say('starting the agent')
  await ensureService({
    name: 'node-agent',
    installation: machine.installation,
    stateDir: machine.stateDir,
    command: [at(bundlePaths.command), 'run'],
    files: [{ path: paths.config, content: JSON.stringify(config) }],
    ownedPaths: [dirname(paths.config), paths.agentState],
    ready: tls ? { url, tls: { ca: tls.cert, name: 'node-agent' } } : { url },
    readyTimeoutMs: 180_000,
    graceMs: 35_000,
    privileges: 'root',
    notify: true,
  })
  return said.nodeId
}
