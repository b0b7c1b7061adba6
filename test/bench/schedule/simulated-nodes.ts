/**
 * Node agents without sandboxes: they take start commands over the agent's own link, report with the agent's own reporter, and let a clock
 * do what an instance does. For measuring schedulers, and nothing else.
 */
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import type { AddressInfo } from 'node:net'
import type { NatsConnection } from '@nats-io/transport-node'
import fastify, { type FastifyInstance } from 'fastify'
import { acceptLinks } from '../../../services/chassis/link/accept.ts'
import { instanceLink } from '../../../services/contracts/links.ts'
import type { InstanceReport, StartInstance } from '../../../services/contracts/node.ts'
import { revisionKey } from '../../../services/contracts/placement.ts'
import { Reporter } from '../../../services/node-agent/node-scheduler/reporter.ts'
import { TermFence } from '../../../services/node-agent/node-scheduler/term-fence.ts'
import { instanceSession } from '../../../services/node-agent/routes/instance-link.ts'
import { nodeIdOf } from './invocations.ts'
import type { SimulatedTime } from './simulated-time.ts'

interface Instance {
  readonly command: StartInstance
  readonly key: string
  state: InstanceReport['state']
  idleSince: number
}

interface Waiting {
  readonly invocationId: string
  readonly handlerMs: number
  readonly done: () => void
}

/** A restore, give or take. */
const startMs = () => 60 + Math.random() * 40
/** A reporter's. */
const beatMs = 1_000
const capacity = { memoryMiB: 65_536, instances: 512, cpus: 16 }

export type ReportConnection = Pick<NatsConnection, 'publish' | 'subscribe' | 'isClosed'>

/** All reports of a turn in one write: in life they come from as many machines. */
export const publishTogether = (connection: NatsConnection): ReportConnection => {
  let waiting: Parameters<NatsConnection['publish']>[] = []
  return {
    isClosed: () => connection.isClosed(),
    subscribe: (subject, options) => connection.subscribe(subject, options),
    publish: (...report) => {
      if (waiting.push(report) > 1) return
      setImmediate(() => {
        const reports = waiting
        waiting = []
        for (const each of reports) connection.publish(...each)
      })
    },
  }
}

export class SimulatedNode {
  readonly fence = new TermFence()
  readonly #time: SimulatedTime
  readonly #reporter: Reporter
  readonly #instances = new Map<string, Instance>()
  readonly #idle = new Map<string, Instance[]>()
  readonly #waiting = new Map<string, Waiting[]>()

  constructor(nodeId: string, url: string, connection: ReportConnection, time: SimulatedTime) {
    this.#time = time
    this.#reporter = new Reporter({
      connection,
      nodeId,
      fence: this.fence,
      url: () => url,
      accepting: () => true,
      cordon: () => undefined,
      capacity,
      pool: 'default',
      labels: {},
      cache: () => ({ heldMiB: 0, pinnedMiB: 0 }),
      all: () => [...this.#instances.values()].map((instance) => this.#report(instance)),
    })
    this.#reporter.start()
  }

  get instances(): number {
    return this.#instances.size
  }

  start(command: StartInstance): void {
    const instance: Instance = { command, key: revisionKey(command.revision), state: 'starting', idleSince: 0 }
    this.#instances.set(command.instanceId, instance)
    this.#changed(instance)
    this.#time.after(startMs(), () => this.#free(instance))
  }

  end(instanceId: string, reason: string): void {
    const instance = this.#instances.get(instanceId)
    if (!instance) return
    if (instance.state === 'idle') {
      this.#instances.delete(instanceId)
      instance.state = 'ended'
      this.#reporter.instanceChanged({ ...this.#report(instance), reason })
    }
  }

  /** @param key of the revision @param done the answer is there */
  invoke(invocationId: string, key: string, handlerMs: number, done: () => void): void {
    const idle = this.#idle.get(key) ?? []
    for (let instance = idle.pop(); instance; instance = idle.pop())
      if (instance.state === 'idle') return this.#run(instance, { invocationId, handlerMs, done })
    const queue = this.#waiting.get(key) ?? []
    queue.push({ invocationId, handlerMs, done })
    this.#waiting.set(key, queue)
  }

  stop(): void {
    this.#reporter.stop()
  }

  #run(instance: Instance, { invocationId, handlerMs, done }: Waiting): void {
    instance.state = 'busy'
    this.#changed(instance)
    this.#time.after(handlerMs, () => {
      this.#free(instance)
      this.#reporter.invocationEnded(invocationId)
      done()
    })
  }

  #free(instance: Instance): void {
    const next = this.#waiting.get(instance.key)?.shift()
    if (next) return this.#run(instance, next)
    instance.state = 'idle'
    instance.idleSince = Date.now()
    const idle = this.#idle.get(instance.key) ?? []
    idle.push(instance)
    this.#idle.set(instance.key, idle)
    this.#changed(instance)
  }

  #changed(instance: Instance): void {
    this.#reporter.instanceChanged(this.#report(instance))
  }

  #report({ command, state, idleSince }: Instance): InstanceReport {
    const { instanceId, revision, memoryMiB, policy } = command
    const inFlight = state === 'busy' ? 1 : 0
    return { instanceId, revision, memoryMiB, policy, state, inFlight, ...(state === 'idle' ? { idleSince } : {}) }
  }
}

export interface SimulatedFleet {
  /** By their number; those of other processes are missing. */
  readonly nodes: ReadonlyMap<number, SimulatedNode>
  stop(): Promise<void>
}

/** Each node has an address of its own on loopback, and so a connection of its own. */
const addressOf = (index: number): string => `127.1.${(index >> 8) & 255}.${index & 255}`

export interface FleetPart {
  /** Numbers of its nodes. */
  readonly indexes: readonly number[]
  readonly connection: NatsConnection
  readonly token: string
  readonly time: SimulatedTime
}

export const startFleet = async ({ indexes, connection, token, time }: FleetPart): Promise<SimulatedFleet> => {
  const byAddress = new Map<string, SimulatedNode>()
  const app: FastifyInstance = fastify()
  acceptLinks(app, {
    path: instanceLink,
    token,
    open: ({ socket }) => {
      const node = byAddress.get(socket.localAddress ?? '')
      if (!node) throw new Error(`no node at ${socket.localAddress}`)
      return instanceSession(node, node.fence, { set: () => undefined })
    },
  })
  await app.listen({ host: '0.0.0.0', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const nodes = new Map<number, SimulatedNode>()
  const reports = publishTogether(connection)
  for (const index of indexes) {
    const address = addressOf(index + 1)
    const node = new SimulatedNode(nodeIdOf(index), `http://${address}:${port}`, reports, time)
    nodes.set(index, node)
    byAddress.set(address, node)
    // Their clocks do not beat together.
    await delay(beatMs / indexes.length)
  }
  return {
    nodes,
    stop: async () => {
      for (const node of nodes.values()) node.stop()
      await turn()
      await app.close()
    },
  }
}
