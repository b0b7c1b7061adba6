/** What an end-to-end test may look at and do to the machine of its scratch installation; its own processes only. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { vi } from 'vitest'
import { inboxPrefix, type NatsRole } from '../../services/contracts/nats-permissions.ts'
import type { GatewayConfig } from '../../services/gateway/config.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { VersionReport } from '../../services/node-agent/checkpoint/version-checkpoints.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../../services/node-agent/config.ts'
import type { CacheInput } from '../../services/node-agent/node-scheduler/cache/input.ts'
import type { SeedReport } from '../../services/node-agent/node-scheduler/seeds.ts'
import type { SchedulerConfig } from '../../services/scheduler/config.ts'
import { cgroupDirs } from '../../stacks/host-scripts/leftovers.ts'
import { processesOf } from '../../stacks/host-scripts/processes.ts'
import type { Premises } from '../../scripts/place.ts'

interface Configs {
  gateway: GatewayConfig
  scheduler: SchedulerConfig
  'node-agent': NodeAgentConfig
}
export type NodeService = keyof Configs
export type Service = NodeService | 'nats'
export const services: readonly Service[] = ['nats', 'gateway', 'scheduler', 'node-agent']

const configFile = ({ stateDir }: Premises, service: NodeService): string =>
  join(stateDir, 'services', service, 'config.json')

export const configOf = <S extends NodeService>(target: Premises, service: S): Configs[S] =>
  JSON.parse(readFileSync(configFile(target, service), 'utf8')) as Configs[S]

/** A request to a service's own port, with the token of the installation. */
export const serviceRequest = (target: Premises, service: NodeService, path: string): Promise<Response> => {
  const { listen, internalToken } = configOf(target, service)
  return fetch(`http://${listen.host}:${listen.port}${path}`, {
    headers: { authorization: `Bearer ${internalToken}` },
  })
}

export const isReady = async (target: Premises, service: NodeService): Promise<boolean> =>
  serviceRequest(target, service, '/readyz').then(
    (reply) => reply.ok,
    () => false,
  )

/** Value of a metric without labels, or the sum over all of them. */
export const metricOf = async (target: Premises, service: NodeService, name: string): Promise<number> => {
  const text = await (await serviceRequest(target, service, '/metrics')).text()
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].map((match) =>
    Number(match[1]),
  )
  return values.reduce((sum, value) => sum + value, 0)
}

/** Values of a metric by its one label. */
export const metricsOf = async (
  target: Premises,
  service: NodeService,
  name: string,
): Promise<Record<string, number>> => {
  const text = await (await serviceRequest(target, service, '/metrics')).text()
  const found = text.matchAll(new RegExp(`^${name}\\{\\w+="([^"]*)"\\} (\\S+)$`, 'gm'))
  return Object.fromEntries([...found].map(([, label = '', value]) => [label, Number(value)]))
}

const parentOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

/** A child that is about to become another program still looks like its parent: it does not count. */
export const pidOf = ({ stateDir, runDir }: Premises, service: Service): number => {
  const found = processesOf({ stateDir, runDir }, service).filter(({ role }) => role === 'service')
  const pids = found.map(({ info }) => info.pid)
  const [first, ...more] = pids.filter((pid) => existsSync(`/proc/${pid}`) && !pids.includes(parentOf(pid)))
  if (first === undefined || more.length > 0) throw new Error(`${pids.length} processes of ${service}`)
  return first
}

/** Resolves when the supervisor has started another process, and it is ready. */
export const restartService = async (target: Premises, service: Service, signal: NodeJS.Signals): Promise<void> => {
  const before = pidOf(target, service)
  process.kill(before, signal)
  await vi.waitFor(
    () => {
      if (pidOf(target, service) === before) throw new Error(`${service} runs still`)
    },
    {
      timeout: 60_000,
      interval: 50,
    },
  )
  await allReady(target)
}

export const allReady = (target: Premises): Promise<void> =>
  vi.waitFor(
    async () => {
      for (const service of ['gateway', 'scheduler', 'node-agent'] as const)
        if (!(await isReady(target, service))) throw new Error(`${service} is not ready`)
      const { nodes } = (await (await serviceRequest(target, 'scheduler', '/v1/nodes')).json()) as {
        nodes: { accepting: boolean }[]
      }
      if (!nodes.some(({ accepting }) => accepting)) throw new Error('no node accepts work')
    },
    { timeout: 60_000, interval: 100 },
  )

/** Runs `use` on an agent whose configuration was changed, and puts the old one back. */
export const withAgentConfig = async (
  target: Premises,
  change: (config: NodeAgentConfig) => NodeAgentConfig,
  use: () => Promise<void>,
): Promise<void> => {
  const file = configFile(target, 'node-agent')
  const original = readFileSync(file, 'utf8')
  writeFileSync(file, JSON.stringify(change(JSON.parse(original) as NodeAgentConfig)))
  try {
    await restartService(target, 'node-agent', 'SIGTERM')
    await use()
  } finally {
    writeFileSync(file, original)
    await restartService(target, 'node-agent', 'SIGTERM')
  }
}

/** Nothing of earlier tests runs, and what `use` does teaches the node to hold nothing for the next time. */
export const onEmptyNode = (target: Premises, use: () => Promise<void>): Promise<void> => {
  const nothing = { precreatedSandboxes: 0, parkedRestores: 0, seeds: 0, parkedForks: 0, versionCheckpoints: false }
  return withAgentConfig(target, (config) => ({ ...config, ...nothing }), use)
}

/** What the node holds for starts to come, and the decision that it follows. */
export const cacheOf = async (target: Premises): Promise<HeldCache> =>
  (await (await serviceRequest(target, 'node-agent', '/v1/cache')).json()) as HeldCache

interface HeldCache {
  readonly prepared: number
  /** Places made for sandboxes to come: ids of control groups and directories without a sandbox. */
  readonly slots: readonly string[]
  readonly heldMiB: number
  readonly input: CacheInput
}

/** The same with other files of one runtime, and perhaps other settings. */
export const withRuntime = (
  target: Premises,
  name: RuntimeName,
  change: Partial<RuntimeFiles>,
  use: () => Promise<void>,
  settings: Partial<NodeAgentConfig> = {},
): Promise<void> =>
  withAgentConfig(
    target,
    (config) => {
      const runtime = config.runtimes[name]
      if (!runtime) throw new Error(`the node has no ${name}`)
      return { ...config, ...settings, runtimes: { ...config.runtimes, [name]: { ...runtime, ...change } } }
    },
    use,
  )

/** The seeds whose sandboxes run. */
export const seedsOf = async (target: Premises): Promise<SeedReport[]> =>
  (await (await serviceRequest(target, 'node-agent', '/v1/seeds')).json()) as SeedReport[]

/** The checkpoints of versions: those that are ready, in the making, or refused. */
export const versionCheckpointsOf = async (target: Premises): Promise<VersionReport[]> =>
  (await (await serviceRequest(target, 'node-agent', '/v1/checkpoints')).json()) as VersionReport[]

const namesIn = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : [])

/** What is on the machine and belongs to no instance that the agent reports, and to no sandbox that was created ahead. */
export const leftoversOf = async (target: Premises): Promise<string[]> => {
  const { installation, runDir } = target
  const groups = cgroupDirs(installation).map((dir) =>
    readdirSync(dir, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])),
  )
  const states = namesIn(join(runDir, 'runsc')).flatMap(
    (name) => /^([0-9a-f]+)_sandbox:.*\.state$/.exec(name)?.[1] ?? [],
  )
  const places = [namesIn(join(runDir, 'i')), states, ...groups]
  const { prepared: ahead, slots } = await cacheOf(target)
  const all = new Set(places.flat().filter((id) => !slots.includes(id)))
  const partial = [...all].filter((id) => !places.every((place) => place.includes(id)))
  const instances = (await (await serviceRequest(target, 'node-agent', '/v1/instances')).json()) as unknown[]
  // Forks have no sandbox of their own, but their seed's.
  const seeds = await seedsOf(target)
  const making = (await versionCheckpointsOf(target)).filter(({ state }) => state === 'making').length
  const serving = seeds.reduce((sum, seed) => sum + seed.serving, 0)
  const sandboxes = instances.length - serving + ahead + seeds.length + making
  return [
    ...partial,
    ...(all.size > sandboxes
      ? [`${all.size} sandboxes for ${instances.length} instances, ${ahead} ahead, ${seeds.length} seeds`]
      : []),
  ]
}

/** A connection of a service's user. The caller closes it. */
export const natsOf = async (target: Premises, role: NatsRole = 'gateway'): Promise<NatsConnection> => {
  const { servers, user, password } = configOf(target, role).nats
  return connect({ servers, user, pass: password, inboxPrefix: inboxPrefix(user) })
}

/** All messages of the subject that are in the stream now, oldest first. */
export const storedMessages = async <T>(target: Premises, stream: string, subject: string): Promise<T[]> => {
  const connection = await natsOf(target)
  try {
    const info = await (await jetstreamManager(connection)).streams.info(stream, { subjects_filter: subject })
    let left = Object.values(info.state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
    const found: T[] = []
    if (left === 0) return found
    const consumer = await jetstream(connection).consumers.get(stream, { filter_subjects: [subject] })
    for await (const message of await consumer.consume()) {
      found.push(message.json<T>())
      if (--left === 0) break
    }
    return found
  } finally {
    await connection.close()
  }
}
