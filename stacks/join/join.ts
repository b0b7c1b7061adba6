/** Makes this machine a node, by a token; run again, it finishes what was begun. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { ServiceTls } from '../../services/chassis/internal-tls.ts'
import { writeWhole } from '../../services/chassis/write-whole.ts'
import { JoinedConfig, joinPath, JoinToken, joinTokenContent } from '../../services/contracts/joining.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { askGateway } from '../../services/node-agent/joining/ask-gateway.ts'
import { makeCertificate } from '../../services/node-agent/joining/certificate.ts'
import { mergedConfig, type MachineConfig } from '../../services/node-agent/joining/merged-config.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { shareOfMemory, urlHost } from '../config.ts'
import { ensureFirewall } from '../host-scripts/firewall.ts'
import { cgroupParent } from '../host-scripts/leftovers.ts'
import { ensureService } from '../host-scripts/service.ts'
import { makeNodeCheckpoints, type Say } from '../node-machine.ts'
import { prepareScript } from '../ssh/prepare-script.ts'
import { authorityOf } from './authority.ts'
import { bundlePaths, openBundle } from './node-bundle.ts'
import { machine, paths, preparation } from './machine.ts'

export interface JoinWish {
  readonly name: string
  /** IP address at which gateways and schedulers reach the node. */
  readonly address: string
  readonly port: number
  readonly memoryMiB?: number | undefined
  readonly instances: number
  /** Only asked for when there is none yet. */
  readonly token: () => string
}

/** What was received, kept so that a run that was cut short needs no other token. */
const Received = Type.Object({
  said: JoinedConfig,
  tls: Type.Optional(ServiceTls),
  listen: Type.Object({ host: Type.String(), port: Type.Integer() }),
})
type Received = Static<typeof Received>

const readToken = (text: string): JoinToken => {
  const content = joinTokenContent(text.trim())
  if (!Value.Check(JoinToken, content)) throw new Error('this is no token of `forkyard node token`')
  return content
}

const readReceived = (): Received | undefined =>
  existsSync(paths.received) ? Value.Parse(Received, JSON.parse(readFileSync(paths.received, 'utf8'))) : undefined

/** Each gateway in turn. @throws PlatformError what the last one said */
const ask = async (wish: JoinWish, say: Say): Promise<Received> => {
  const token = readToken(wish.token())
  const { name, address: host, port } = wish
  const secure = token.authority !== undefined
  const pair = secure ? await makeCertificate(name, host) : undefined
  const url = `${secure ? 'https' : 'http'}://${urlHost(host)}:${port}`
  const { tokenId, secret } = token
  const body = { tokenId, secret, name, url, ...(pair ? { certificate: pair.cert } : {}) }
  let problem: unknown
  for (const gateway of token.urls)
    try {
      const ca = token.authority === undefined ? undefined : await authorityOf(gateway, token.authority)
      const said = await askGateway(gateway, ca, { path: joinPath, body })
      return { said, listen: { host, port }, ...(ca !== undefined && pair ? { tls: { ca, ...pair } } : {}) }
    } catch (error) {
      problem = error
      say(`${gateway}: ${(error as Error).message}`)
    }
  throw problem
}

/** The agent's, but for its checkpoints. */
const configOf = (received: Received, ofMachine: MachineConfig): MachineConfig => {
  const before = existsSync(paths.config)
    ? (JSON.parse(readFileSync(paths.config, 'utf8')) as MachineConfig)
    : undefined
  // The agent has written what gateways said since, and another certificate.
  if (before?.['nodeId'] === received.said.nodeId) return { ...before, ...ofMachine }
  return { ...mergedConfig(received.said.agent, ofMachine), ...(received.tls ? { tls: received.tls } : {}) }
}

/** @param bundle directory @returns id of the node */
export const joinInstallation = async (bundle: string, wish: JoinWish, say: Say): Promise<string> => {
  if (process.getuid?.() !== 0) throw new Error('root is needed')
  const manifest = await openBundle(bundle)
  const at = (path: string): string => join(bundle, path)
  // Packages, kernel settings, directories; whatever is in the way it says itself.
  execFileSync('/bin/sh', ['-c', prepareScript(preparation)], { stdio: ['ignore', 'ignore', 'inherit'] })
  let received = readReceived()
  if (received) say(`this machine has joined as ${received.said.nodeId} already: going on with that`)
  else {
    received = await ask(wish, say)
    // The token is used: half of it would be a join that nobody can go on with.
    writeWhole(paths.received, JSON.stringify(received), true)
    say(`joined as ${received.said.nodeId}`)
  }
  const { said, listen } = received
  const images = Object.fromEntries(
    manifest.runtimes.map((runtime) => {
      const path = bundlePaths.image(runtime)
      const command = [...runtimeCommands[runtime as RuntimeName]]
      return [runtime, { imagePath: at(path), imageDigest: manifest.files[path] ?? '', command }]
    }),
  ) as NodeAgentConfig['runtimes']
  const ofMachine = {
    listen,
    stateDir: paths.agentState,
    runDir: machine.runDir,
    runscPath: at(bundlePaths.runsc),
    addonPath: at(bundlePaths.addon),
    cgroupParent: cgroupParent(machine.installation),
    runtimes: images,
    capacity: {
      memoryMiB: wish.memoryMiB ?? shareOfMemory(Math.floor(totalmem() / 1024 ** 2)),
      instances: wish.instances,
    },
  }
  const config = configOf(received, ofMachine)
  const place = { outDir: paths.checkpoints, inputsDigest: manifest.checkpointInputs }
  const runtimes = await makeNodeCheckpoints(config as unknown as NodeAgentConfig, place, say)
  await ensureFirewall({
    installation: machine.installation,
    stateDir: machine.stateDir,
    ports: [{ port: listen.port, from: said.controlAddresses }],
  })
  mkdirSync(machine.runDir, { recursive: true, mode: 0o711 })
  const { tls } = config as { tls?: ServiceTls }
  const url = `${tls ? 'https' : 'http'}://${urlHost(listen.host)}:${listen.port}/readyz`
  say('starting the agent')
  await ensureService({
    name: 'node-agent',
    installation: machine.installation,
    stateDir: machine.stateDir,
    command: [at(bundlePaths.node), at(bundlePaths.agent), '--config', paths.config],
    files: [{ path: paths.config, content: JSON.stringify({ ...config, runtimes }) }],
    ownedPaths: [dirname(paths.config), paths.agentState],
    ready: tls ? { url, tls: { ca: tls.cert, name: 'node-agent' } } : { url },
    readyTimeoutMs: 180_000,
    graceMs: 35_000,
    privileges: 'root',
    notify: true,
  })
  return said.nodeId
}
