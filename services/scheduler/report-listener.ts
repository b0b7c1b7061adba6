/** Hop in from the nodes: their reports over NATS. */
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { Compile } from 'typebox/compile'
import { subscribeLastingly } from '../chassis/lasting-subscription.ts'
import type { JoinedNodes } from '../chassis/joined-nodes.ts'
import type { Logger } from '../chassis/log.ts'
import { NodeFiles } from '../contracts/code-images.ts'
import { NodeReport } from '../contracts/node.ts'
import { subjects } from '../contracts/subjects.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { Fleet } from './fleet.ts'
import type { NodeKeeper } from './node-keeper.ts'
import type { SchedulerMetrics } from './metrics.ts'
import { createReportFilter } from './report-protocol.ts'
import { objection, type Told as NodeSaid } from './vouched-reports.ts'
import { YieldingQueue } from './yielding-queue.ts'

export interface ReportListenerDeps {
  readonly connection: NatsConnection
  readonly fleet: Fleet
  readonly dispatcher: Dispatcher
  readonly metrics: SchedulerMetrics
  readonly logger: Logger
  readonly nodeTimeoutMs: number
  readonly keeper: Pick<NodeKeeper, 'heard'>
  readonly joined: Pick<JoinedNodes, 'get' | 'byUrl'>
}

const tickMs = 100
/** At most one request for full reports to all nodes, and to each of them, in this time. */
const askEveryMs = 200

/**
 * A client reads megabytes of reports in one turn where they have piled up, and nobody would be placed meanwhile. They take a third of the time at
 * most, unless there is nothing else to do. What is too much is lost, which is noticed as a gap.
 */
const reportLimits = { items: 20_000, sliceMs: 2, share: 0.5 }

/** Subjects of which it is known why they do not count. */
const maxObjected = 1_000

const schema = Compile(NodeReport)
const filesSchema = Compile(NodeFiles)

interface Told {
  readonly message: Msg
  readonly take: (message: Msg) => void
}

export interface ReportListener {
  /** Asks all nodes for everything, and tells them the term of who leads from now on. */
  readonly askAll: (term: number) => void
  readonly connected: () => boolean
  /** Ends the subscription and the clock. */
  readonly stop: () => void
}

export const listenToReports = (deps: ReportListenerDeps): ReportListener => {
  const { connection, fleet, dispatcher, metrics, logger, nodeTimeoutMs, keeper, joined } = deps
  let connected = true
  let askedAt = -Infinity
  const nodesAsked = new Map<string, number>()
  let tickedAt = performance.now()

  const ask = (): void => {
    if (performance.now() - askedAt < askEveryMs) return
    askedAt = performance.now()
    connection.publish(subjects.reportNow)
  }
  const isUnderstood = createReportFilter(logger)
  const askNode = (nodeId: string): void => {
    const now = performance.now()
    if (now - Math.max(askedAt, nodesAsked.get(nodeId) ?? -Infinity) < askEveryMs) return
    nodesAsked.set(nodeId, now)
    connection.publish(subjects.nodeReportNow(nodeId))
  }
  /** Told each second: once is enough for the log. */
  const objected = new Map<string, string>()
  const counts = (subject: string, told: NodeSaid): boolean => {
    const why = objection(subject.split('.')[1], told, joined)
    if (why === undefined) {
      if (objected.size > 0) objected.delete(subject)
      return true
    }
    metrics.refusedReports.inc()
    if (objected.get(subject) === why) return false
    // Too many to remember: they are all told once more.
    if (objected.size >= maxObjected) objected.clear()
    objected.set(subject, why)
    logger.error({ subject, nodeId: told.nodeId, why }, 'reports: what a node tells does not count')
    return false
  }
  const takeReport = (message: Msg): void => {
    const report = parse(schema, message.string())
    if (!report) return logger.error({ subject: message.subject }, 'reports: a report does not fit the schema')
    if (!counts(message.subject, report)) return
    const inOrder = dispatcher.report(report)
    keeper.heard(report)
    if (inOrder) return
    metrics.lostReports.inc()
    askNode(report.nodeId)
  }
  const takeFiles = (message: Msg): void => {
    const files = parse(filesSchema, message.string())
    if (files) {
      if (counts(message.subject, files)) fleet.files(files)
    } else logger.error({ subject: message.subject }, 'reports: what a node tells of its files does not fit the schema')
  }
  // Both in one: what a node has is of use once the node is known.
  const told = new YieldingQueue<Told>(({ message, take }) => {
    if (isUnderstood(message)) take(message)
  }, reportLimits)
  const subscription = connection.subscribe(subjects.allNodeReports, {
    callback: (error, message) => {
      if (error) logger.error({ err: error }, 'reports: the subscription failed')
      else if (!told.push({ message, take: takeReport })) metrics.lostReports.inc()
    },
  })
  const endFiles = subscribeLastingly(connection, subjects.allNodeFiles, (message) => {
    if (!told.push({ message, take: takeFiles }))
      logger.warn({ subject: message.subject }, 'reports: too many wait: lost')
  })
  const watch = async (): Promise<void> => {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') connected = false
      if (type !== 'reconnect') continue
      connected = true
      fleet.excuse(Date.now())
      ask()
    }
  }
  watch().catch((error: unknown) => logger.error({ err: error }, 'reports: the connection cannot be watched'))
  const timer = setInterval(() => {
    const stood = Math.max(performance.now() - tickedAt, told.behindMs) > nodeTimeoutMs / 2
    tickedAt = performance.now()
    // Without NATS, or while what came is not read, silence says nothing about the nodes.
    if (!connected || stood) fleet.excuse(Date.now())
    dispatcher.tick(nodeTimeoutMs)
    for (const [nodeId, at] of nodesAsked) if (performance.now() - at > askEveryMs) nodesAsked.delete(nodeId)
  }, tickMs)
  ask()
  return {
    askAll: (term) => connection.publish(subjects.reportNow, String(term)),
    connected: () => connected,
    stop: () => {
      clearInterval(timer)
      subscription.unsubscribe()
      told.close()
      endFiles()
    },
  }
}

const parse = <T>(wanted: { Check(value: unknown): value is T }, text: string): T | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return wanted.Check(value) ? value : undefined
  } catch {
    return undefined
  }
}
