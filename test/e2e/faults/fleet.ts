/**
 * An installation on several hosts: NATS, two schedulers, two gateways, and three nodes in network namespaces of their own, each service under
 * the supervisor of this machine. Programs, images and credentials are those of the scratch installation.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, vi } from 'vitest'
import { toolPath } from '../../../scripts/setup/paths.ts'
import type { Premises } from '../../../scripts/place.ts'
import type { ServiceTls } from '../../../services/chassis/internal-tls.ts'
import { issuerKey } from '../../../services/chassis/nats-issuer.ts'
import type { JoinedConfig } from '../../../services/contracts/joining.ts'
import type { GatewayConfig } from '../../../services/gateway/config.ts'
import type { NodeAgentConfig } from '../../../services/node-agent/config.ts'
import type { SchedulerConfig } from '../../../services/scheduler/config.ts'
import { calloutBlock } from '../../../stacks/components/nats-config.ts'
import { cgroupParent } from '../../../stacks/host-scripts/leftovers.ts'
import { waitUntilReady } from '../../../stacks/host-scripts/readiness.ts'
import type { ServiceSpec } from '../../../stacks/host-scripts/service-spec.ts'
import { chooseSupervisor } from '../../../stacks/host-scripts/supervisor.ts'
import { writeFileIfChanged } from '../../../stacks/host-scripts/write-file.ts'
import type { Connection } from '../../support/lambda.ts'
import { configOf, metricOf, pidOf, serviceRequest, type NodeService, type Service } from '../host.ts'
import { controlAddress, inNamespace, makeNamespaces, nodeAddress } from './fleet-network.ts'
import {
  controlNames,
  nodeNames,
  openFleetPlace,
  premisesOf,
  removeFleet,
  type ControlName,
  type NodeName,
} from './fleet-place.ts'

/** A service on a host of the fleet. */
export interface Member {
  readonly premises: Premises
  readonly service: Service
}

/** What a scheduler tells of a node. */
export interface NodeState {
  readonly nodeId: string
  readonly accepting: boolean
  readonly cordoned: boolean
  readonly cordon?: { readonly by: string; readonly reason: string }
  readonly leases: number
  readonly instances: readonly {
    readonly state: string
    readonly inFlight: number
    readonly revision: { readonly name: string }
  }[]
}

export interface Fleet {
  readonly id: string
  readonly nats: Member
  readonly schedulers: readonly [Member, Member]
  readonly gateways: readonly [Member, Member]
  readonly nodes: Readonly<Record<NodeName, Member>>
  /** As the installed agent runs; looked up before there are others that run it. */
  readonly agentProgram: readonly string[]
  readonly remove: () => Promise<void>
}

/** Of each node. */
export interface Capacity {
  readonly memoryMiB: number
  readonly instances: number
}

const readyMs = 60_000

/** What differs from the installed services. */
export interface Differences {
  readonly scheduler?: Partial<SchedulerConfig>
  readonly gateway?: Partial<GatewayConfig>
  readonly node?: (name: NodeName) => Partial<Record<keyof NodeAgentConfig, unknown>>
  /** Its agent is not made with the others: it joins by a token. */
  readonly joiner?: { readonly name: NodeName; readonly gatewayTls: ServiceTls }
}

export const createFleet = async (
  target: Premises & Connection,
  capacity: Capacity,
  differences: Differences = {},
): Promise<Fleet> => {
  const id = await openFleetPlace()
  const remove = () => removeFleet(id)
  const agentProgram = programOf(target, 'node-agent')
  try {
    await makeNamespaces(id, nodeNames)
    for (const spec of specsOf(id, target, capacity, differences)) {
      for (const { path, content } of spec.files) writeFileIfChanged(path, content)
      await chooseSupervisor().ensure(spec, false)
      await waitUntilReady(spec.ready, readyMs)
    }
  } catch (error) {
    await remove()
    throw error
  }
  const member = (host: ControlName | NodeName, service: Service): Member => ({
    premises: premisesOf(id, host),
    service,
  })
  return {
    id,
    nats: member('c1', 'nats'),
    schedulers: [member('c1', 'scheduler'), member('c2', 'scheduler')],
    gateways: [member('c1', 'gateway'), member('c2', 'gateway')],
    nodes: { n1: member('n1', 'node-agent'), n2: member('n2', 'node-agent'), n3: member('n3', 'node-agent') },
    agentProgram,
    remove,
  }
}

/** With which gateways tell NATS who joined nodes are, 32 bytes, hex. */
const issuerSeed = randomBytes(32).toString('hex')

/** Ports differ between the hosts of the control plane, which share an address. */
const ports = {
  nats: 4222,
  scheduler: { c1: 7001, c2: 7002 },
  gateway: { c1: 8001, c2: 8002 },
  calls: { c1: 8101, c2: 8102 },
  node: 7100,
  peer: 7200,
} as const

/** In the order in which they are started. */
const specsOf = (id: string, target: Premises, capacity: Capacity, differences: Differences): ServiceSpec[] => {
  const host = controlAddress(id)
  // One machine, which the installed services are for, has no other nodes.
  const peerToken = randomBytes(32).toString('hex')
  const urlOf = (port: number, address = host): string => `http://${address}:${port}`
  const servers = [`nats://${host}:${ports.nats}`]
  /** What differs on this host from the installed service. */
  const spec = <S extends NodeService>(
    on: ControlName | NodeName,
    service: S,
    changes: (config: ReturnType<typeof configOf<S>>) => object,
    listen: { readonly host: string; readonly port: number },
    prefix: readonly string[] = [],
  ): ServiceSpec => {
    const config = configOf(target, service)
    const content = JSON.stringify({ ...config, listen, nats: { ...config.nats, servers }, ...changes(config) })
    const command = [...prefix, ...programOf(target, service), '--config']
    return serviceSpec(id, on, service, command, content, { url: `${urlOf(listen.port, listen.host)}/readyz` })
  }
  const joining = (on: ControlName, tls: ServiceTls) => {
    const callUrl = (name: ControlName) => urlOf(ports.calls[name]).replace('http:', 'https:')
    const { region, logLevel, network, cache } = configOf(target, 'node-agent')
    return {
      calls: { listen: { host, port: ports.calls[on] }, url: callUrl(on), token: 'c'.repeat(64), tls },
      joining: {
        installation: `f${id}`,
        urls: controlNames.map(callUrl),
        schedulerNodeToken: configOf(target, 'scheduler').nodeToken,
        issuerSeed,
        nats: { servers, replicas: 1 },
        controlAddresses: [host],
        agent: { region, logLevel, network, cache },
      },
    }
  }
  const gateway = (on: ControlName): ServiceSpec => {
    const port = ports.gateway[on]
    const stagingDir = join(premisesOf(id, on).stateDir, 'staging')
    const schedulerUrls = controlNames.map((each) => urlOf(ports.scheduler[each]))
    // No function here calls another; the installed gateway has the port.
    const changes = () => ({
      publicUrl: urlOf(port),
      stagingDir,
      schedulerUrls,
      calls: undefined,
      ...(differences.joiner ? joining(on, differences.joiner.gatewayTls) : {}),
      ...differences.gateway,
    })
    return spec(on, 'gateway', changes, { host, port })
  }
  const node = (on: NodeName, index: number): ServiceSpec => {
    const { installation, stateDir, runDir } = premisesOf(id, on)
    const own = { nodeId: on, stateDir: join(stateDir, 'node-agent'), runDir, cgroupParent: cgroupParent(installation) }
    const listen = { host: nodeAddress(id, index), port: ports.node }
    const peers = { listen: { host: listen.host, port: ports.peer }, token: peerToken }
    return spec(
      on,
      'node-agent',
      () => ({ ...own, capacity, peers, ...differences.node?.(on) }),
      listen,
      inNamespace(id, on),
    )
  }
  const natsConfig = readFileSync(join(target.stateDir, 'services', 'nats', 'nats-server.conf'), 'utf8')
    .replace(/^listen: .*$/m, `listen: "${host}:${ports.nats}"`)
    .replace(/^authorization \{$/m, `$&\n${differences.joiner ? calloutBlock(issuerKey(issuerSeed)) : ''}`)
    .replace(/^ {2}store_dir: .*$/m, `  store_dir: "${join(premisesOf(id, 'c1').stateDir, 'nats')}"`)
  return [
    serviceSpec(id, 'c1', 'nats', [toolPath('nats-server'), '--config'], natsConfig, { tcpPort: ports.nats, host }),
    ...controlNames.map((on) =>
      spec(on, 'scheduler', () => ({ id: on, ...verifiers(target, differences), ...differences.scheduler }), {
        host,
        port: ports.scheduler[on],
      }),
    ),
    ...controlNames.map(gateway),
    ...nodeNames.filter((name) => name !== differences.joiner?.name).map((name) => node(name, nodeNames.indexOf(name))),
  ]
}

const verifiers = (target: Premises, { joiner }: Differences) =>
  joiner ? { verifyingKeys: configOf(target, 'node-agent').verifyingKeys } : {}

/** The agent of a machine of its own, with what it has from a gateway. */
export const startJoined = async (
  { id, agentProgram }: Pick<Fleet, 'id' | 'agentProgram'>,
  target: Premises,
  on: NodeName,
  given: { readonly said: JoinedConfig; readonly tls: ServiceTls; readonly capacity: Capacity },
): Promise<Member> => {
  const { installation, stateDir, runDir } = premisesOf(id, on)
  const { runscPath, addonPath, runtimes } = configOf(target, 'node-agent')
  const config = {
    ...given.said.agent,
    listen: { host: nodeAddress(id, nodeNames.indexOf(on)), port: ports.node },
    tls: given.tls,
    stateDir: join(stateDir, 'node-agent'),
    runDir,
    runscPath,
    addonPath,
    cgroupParent: cgroupParent(installation),
    runtimes,
    capacity: given.capacity,
  }
  const command = [...inNamespace(id, on), ...agentProgram, '--config']
  const ready = { url: `${joinedUrl(id, on)}/readyz`, tls: { ca: given.tls.cert, name: 'node-agent' } }
  const spec = serviceSpec(id, on, 'node-agent', command, JSON.stringify(config), ready)
  for (const { path, content } of spec.files) writeFileIfChanged(path, content)
  await chooseSupervisor().ensure(spec, false)
  await waitUntilReady(spec.ready, readyMs)
  return { premises: premisesOf(id, on), service: 'node-agent' }
}

export const joinedUrl = (id: string, on: NodeName): string =>
  `https://${nodeAddress(id, nodeNames.indexOf(on))}:${ports.node}`

/** As the installed service runs, without its configuration. */
const programOf = (target: Premises, service: NodeService): string[] => {
  const argv = readFileSync(`/proc/${pidOf(target, service)}/cmdline`, 'utf8')
    .split('\0')
    .filter(Boolean)
  return argv.slice(0, argv.indexOf('--config'))
}

const serviceSpec = (
  id: string,
  on: ControlName | NodeName,
  name: Service,
  command: readonly string[],
  content: string,
  ready: ServiceSpec['ready'],
): ServiceSpec => {
  const { installation, stateDir } = premisesOf(id, on)
  const path = join(stateDir, 'services', name, 'config.json')
  const common = {
    installation,
    stateDir,
    ownedPaths: [],
    readyTimeoutMs: readyMs,
    graceMs: 35_000,
    first: name === 'scheduler',
  }
  return { ...common, name, command: [...command, path], files: [{ path, content }], ready, privileges: 'root' }
}

/** Another process of the member runs, and is ready. */
export const untilReplaced = async ({ premises, service }: Member, before: number): Promise<void> => {
  const until = performance.now() + readyMs
  const isThere = async (): Promise<boolean> => {
    try {
      return pidOf(premises, service) !== before && (service === 'nats' || (await readyOf(premises, service)))
    } catch {
      return false
    }
  }
  while (!(await isThere())) {
    if (performance.now() > until) throw new Error(`${service} in ${premises.stateDir} did not come back`)
    await delay(50)
  }
}

const readyOf = async (premises: Premises, service: NodeService): Promise<boolean> =>
  (await serviceRequest(premises, service, '/readyz')).ok

/** @param name of a signal @returns the process that got it. One that is stopped is to be continued by whoever stopped it. */
export const signal = ({ premises, service }: Member, name: NodeJS.Signals): number => {
  const pid = pidOf(premises, service)
  process.kill(pid, name)
  return pid
}

/** As a rolling upgrade does it. */
export const restart = (member: Member): Promise<void> => untilReplaced(member, signal(member, 'SIGTERM'))

/** The scheduler that leads, and the other one. */
export const leaderOf = async ({ schedulers }: Fleet): Promise<readonly [Member, Member]> => {
  const until = performance.now() + 30_000
  for (;;) {
    for (const [at, scheduler] of schedulers.entries()) {
      const leads = await metricOf(scheduler.premises, 'scheduler', 'forkyard_scheduler_leads').catch(() => 0)
      const other = schedulers[1 - at]
      if (leads === 1 && other) return [scheduler, other]
    }
    if (performance.now() > until) throw new Error('no scheduler leads')
    await delay(100)
  }
}

/** As the scheduler that leads knows them. */
export const nodesOf = async (fleet: Fleet): Promise<readonly NodeState[]> => {
  const [{ premises }] = await leaderOf(fleet)
  const reply = await serviceRequest(premises, 'scheduler', '/v1/nodes')
  return ((await reply.json()) as { nodes: NodeState[] }).nodes
}

/** All three report. */
export const untilAllReport = (fleet: Fleet): Promise<void> =>
  vi.waitFor(
    async () => expect((await nodesOf(fleet)).map(({ nodeId }) => nodeId).toSorted()).toEqual([...nodeNames]),
    { timeout: 60_000, interval: 200 },
  )

export const connectionOf = (target: Connection, { premises }: Member): Connection => ({
  ...target,
  endpoint: configOf(premises, 'gateway').publicUrl,
})

export const residentMiB = ({ premises, service }: Member): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pidOf(premises, service)}/status`, 'utf8'))?.[1]) / 1024
