/**
 * `npm run bench -- schedule`: placements a second of the real scheduler process over its real protocol, with a real nats-server, for nodes
 * that are simulated; beside a JetStream work queue that nodes pull from, in the same run.
 */
import { randomUUID } from 'node:crypto'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { PlatformError } from '../../../services/contracts/errors.ts'
import type { VersionConfig } from '../../../services/contracts/function.ts'
import type { Placement, PlacementRequest } from '../../../services/contracts/placement.ts'
import { PlacementLink } from '../../../services/gateway/placement-link.ts'
import { placementRequest } from '../../../services/gateway/placement-request.ts'
import { percentile } from '../statistics.ts'
import { generateLoad, zipf } from './load.ts'
import { round, type ScheduleInput, type ScheduleRow } from './row.ts'
import { internalToken, startSchedulerProcesses, type SchedulerProcesses } from './processes.ts'
import { measureQueue } from './queue-reference.ts'
import { startFleet, type SimulatedFleet } from './simulated-nodes.ts'

const warmUpSeconds = 15
const settleSeconds = 5
const gateways = 2
/** Connections that the simulated nodes share to NATS; in life each has its own. */
const natsConnections = 8
const meanHandlerMs = 50
/** Short, so that the functions that are called rarely are started again and again. */
const keepAliveMs = 2_000

const versionOf = (index: number): VersionConfig =>
  ({
    tenant: `tenant-${index % 50}`,
    name: `function-${index}`,
    version: '$LATEST',
    revisionId: `revision-${index}`,
    runtime: 'nodejs24.x',
    memoryMiB: 128,
    policy: { concurrency: 1, reuse: true, keepAliveMs },
  }) as VersionConfig

const measureScheduler = async (
  processes: SchedulerProcesses,
  fleet: SimulatedFleet,
  functions: number,
  { perSecond, seconds }: ScheduleInput,
): Promise<ScheduleRow> => {
  const links = Array.from({ length: gateways }, () => new PlacementLink(processes.schedulerUrl, internalToken))
  const versions = Array.from({ length: functions }, (_, index) => versionOf(index))
  const draw = zipf(functions)
  let measuring = false
  let [answered, errors, starts] = [0, 0, 0]
  const codes: Record<string, number> = {}
  const waits: number[] = []
  const open = new Set<Promise<void>>()

  const request = (): PlacementRequest =>
    placementRequest(
      versions[draw()] as VersionConfig,
      {},
      { invocationId: randomUUID(), startWish: 'auto', deadlineAt: Date.now() + 30_000, excludeNodes: [] },
    )
  const run = (link: PlacementLink, { invocationId, revision }: PlacementRequest, { nodeId }: Placement): void => {
    const handlerMs = -Math.log(1 - Math.random()) * meanHandlerMs
    fleet.nodes.get(nodeId)?.invoke(invocationId, revision, handlerMs, () => link.over(invocationId))
  }
  const place = async (at: number, counts: boolean): Promise<void> => {
    const link = links[answered % gateways] as PlacementLink
    const asked = request()
    try {
      const placement = await link.place(asked, new AbortController().signal)
      answered++
      if (counts) {
        waits.push(performance.now() - at)
        if (placement.decision === 'start') starts++
      }
      run(link, asked, placement)
    } catch (error) {
      if (counts) errors++
      const code = error instanceof PlatformError ? error.code : String(error)
      codes[code] = (codes[code] ?? 0) + 1
    }
  }
  const arrive = (at: number): void => {
    const placed = place(at, measuring).finally(() => open.delete(placed))
    open.add(placed)
  }

  await Promise.all(links.map(async (link) => link.isThere()))
  // A day does not begin at its peak: all of it at once would be a burst of starts, which is another measurement.
  for (let step = 1; step <= warmUpSeconds; step++)
    await generateLoad({ perSecond: (perSecond * step) / warmUpSeconds, seconds: 1, arrive })
  await generateLoad({ perSecond, seconds: settleSeconds, arrive })
  measuring = true
  const [cpuBefore, from] = [processes.schedulerCpuSeconds(), performance.now()]
  await generateLoad({ perSecond, seconds, arrive })
  measuring = false
  await Promise.all(open)
  const tookSeconds = (performance.now() - from) / 1000
  const cpuSeconds = processes.schedulerCpuSeconds() - cpuBefore
  for (const link of links) link.close()
  return {
    name: 'scheduler',
    nodes: fleet.nodes.size,
    functions,
    offeredPerSecond: round((waits.length + errors) / seconds),
    achievedPerSecond: round(waits.length / tookSeconds),
    p50Ms: round(percentile(waits, 0.5)),
    p99Ms: round(percentile(waits, 0.99)),
    errors,
    errorCodes: codes,
    cpuSecondsPerMillion: round((cpuSeconds / waits.length) * 1e6),
    startShare: round(starts / waits.length),
  }
}

const withNats = async <T>(
  { nats: { url, login } }: SchedulerProcesses,
  use: (connections: NatsConnection[]) => Promise<T>,
) => {
  const connections = await Promise.all(
    Array.from({ length: natsConnections }, () => connect({ servers: url, user: login.user, pass: login.password })),
  )
  try {
    return await use(connections)
  } finally {
    await Promise.all(connections.map(async (connection) => connection.close()))
  }
}

export const benchSchedule = async (input: ScheduleInput, progress: (line: string) => void): Promise<ScheduleRow[]> => {
  const rows: ScheduleRow[] = []
  for (const { nodes, functions } of input.scales) {
    const processes = await startSchedulerProcesses(input.profileDir)
    try {
      progress(`${nodes} nodes, ${functions} functions`)
      const row = await withNats(processes, async (connections) => {
        const fleet = await startFleet(nodes, connections, internalToken)
        try {
          return await measureScheduler(processes, fleet, functions, input)
        } finally {
          await fleet.stop()
        }
      })
      rows.push(row)
      if (rows.length === 1) {
        progress('the same with a work queue')
        rows.push(await withNats(processes, (connections) => measureQueue(connections, nodes, functions, input)))
      }
    } finally {
      await processes.stop()
    }
  }
  return rows
}
