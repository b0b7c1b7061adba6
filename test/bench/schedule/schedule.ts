/**
 * `npm run bench -- schedule`: placements a second of the real scheduler process over its real protocol, with a real nats-server, for nodes
 * that are simulated; beside a JetStream work queue that nodes pull from, in the same run.
 */
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import type { MeasuredProcess } from './measured-process.ts'
import {
  endByMessage,
  internalToken,
  Processes,
  startLoad,
  startNodes,
  startScheduler,
  type LoadResult,
  type SchedulerProcesses,
} from './processes.ts'
import { measureQueue } from './queue-reference.ts'
import type { ProcessFigures, ScheduleInput, ScheduleRow, ScheduleScale } from './row.ts'

/** In which the simulated nodes are, besides the gateways' own. */
const nodeProcesses = 1
/** Connections to NATS of the work queue's nodes. */
const queueConnections = 8

const measureScheduler = async (
  processes: Processes,
  { nats, natsServer, scheduler, schedulerUrl }: SchedulerProcesses,
  { nodes, functions, keepAliveMs }: ScheduleScale,
  { perSecond, seconds }: ScheduleInput,
): Promise<ScheduleRow> => {
  const socketPaths = Array.from({ length: nodeProcesses }, (_, part) => join(processes.dir, `nodes-${part}.sock`))
  const all = Array.from({ length: nodes }, (_, index) => index)
  const parts = await Promise.all(
    socketPaths.map(async (socketPath, part) => {
      const indexes = all.filter((index) => index % nodeProcesses === part)
      return startNodes(processes, { nats, token: internalToken, indexes, functions, keepAliveMs, socketPath })
    }),
  )
  const common = { nodes, functions, keepAliveMs, perSecond, seconds }
  const load = startLoad(processes, { ...common, schedulerUrl, token: internalToken, socketPaths })
  const measured: Record<string, MeasuredProcess> = {
    scheduler,
    load,
    ...Object.fromEntries(parts.map((part, index) => [nodeProcesses === 1 ? 'nodes' : `nodes ${index + 1}`, part])),
    'nats-server': natsServer,
  }
  await load.receive('measuring')
  for (const each of Object.values(measured)) each.begin()
  const { result } = await load.receive<{ readonly result: LoadResult }>('measured')
  const { placements, ...found } = result
  const figures: Record<string, ProcessFigures> = {}
  for (const [name, each] of Object.entries(measured)) figures[name] = await each.figures(placements)
  for (const each of [load, ...parts]) await endByMessage(each)
  return {
    name: 'scheduler',
    nodes,
    functions,
    keepAliveMs,
    ...found,
    cpuSecondsPerMillion: figures['scheduler']?.cpuSecondsPerMillion ?? null,
    processes: figures,
  }
}

const withNats = async <T>(
  { nats: { url, login } }: SchedulerProcesses,
  use: (connections: NatsConnection[]) => Promise<T>,
) => {
  const connections = await Promise.all(
    Array.from({ length: queueConnections }, () => connect({ servers: url, user: login.user, pass: login.password })),
  )
  try {
    return await use(connections)
  } finally {
    await Promise.all(connections.map(async (connection) => connection.close()))
  }
}

export const benchSchedule = async (input: ScheduleInput, progress: (line: string) => void): Promise<ScheduleRow[]> => {
  const rows: ScheduleRow[] = []
  for (const scale of input.scales) {
    const { nodes, functions, keepAliveMs } = scale
    const processes = new Processes(input.profileDir)
    try {
      progress(`${nodes} nodes, ${functions} functions kept for ${keepAliveMs / 1000} s`)
      const scheduler = await startScheduler(processes)
      rows.push(await measureScheduler(processes, scheduler, scale, input))
      if (rows.length === 1 && input.reference) {
        progress('the same with a work queue')
        rows.push(await withNats(scheduler, (connections) => measureQueue(connections, nodes, functions, input)))
      }
    } finally {
      await processes.stop()
    }
  }
  return rows
}
