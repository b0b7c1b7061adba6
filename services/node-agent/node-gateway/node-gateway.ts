/** Feeds instances the requests of their revision: the buffer, the matching of pulls, the end of waiting. */
import { rm } from 'node:fs/promises'
import { PlatformError } from '../../contracts/errors.ts'
import { revisionKey, startTypes, type RevisionRef } from '../../contracts/placement.ts'
import type { InvocationReport, UsageRecord } from '../../contracts/usage.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { InstanceEndpoint, NodeGateway, NodeGatewayEvents } from '../instance.ts'
import { listenOnSocket } from '../instance-socket.ts'
import { InstanceLog } from '../logs/instance-log.ts'
import type { LogPublisher } from '../logs/log-publisher.ts'
import type { UsageJournal } from '../metering/usage-journal.ts'
import type { UsagePublisher } from '../metering/usage-publisher.ts'
import { chooseInvocation, type CallingInvocation } from './calling-invocation.ts'
import { Endpoint, type EndpointDeps } from './endpoint.ts'
import type { GatewayMetrics } from './gateway-metrics.ts'
import type { AnswerSink, InvocationRequest } from './invocation.ts'
import { RevisionBuffer } from './revision-buffer.ts'
import type { Waiting } from './running-invocations.ts'
import { serveRuntimeApi } from './runtime-api.ts'

export interface NodeGatewayDeps {
  readonly nodeId: string
  readonly region: string
  readonly limits: NodeAgentConfig['limits']
  readonly events: NodeGatewayEvents
  readonly journal: UsageJournal
  readonly usage: UsagePublisher
  readonly logs: LogPublisher
  readonly metrics: GatewayMetrics
  readonly environment?: EndpointDeps['environment']
}

export interface InvocationTaker {
  /**
   * Buffers the request until an instance pulls it. The returned function takes it back if it still waits (the caller is gone).
   * @throws PlatformError TOO_MANY_REQUESTS, STORAGE_FULL, DEADLINE_EXCEEDED, NO_INSTANCE before anything happened
   */
  invoke(request: InvocationRequest, sink: AnswerSink): () => void
}

export interface Callers {
  /** In the name of which invocation the code of this instance calls now. Undefined: of none. */
  callingInvocation(instanceId: string, revision: RevisionRef): CallingInvocation | undefined
}

const askAfterMs = 1000

export const createNodeGateway = (deps: NodeGatewayDeps): NodeGateway & InvocationTaker & Callers => {
  const { events, limits, metrics } = deps
  const buffer = new RevisionBuffer<Waiting>(limits)
  const timers = new Map<Waiting, NodeJS.Timeout[]>()
  const endpoints = new Map<string, Set<Endpoint>>()

  const take = (item: Waiting): boolean => {
    for (const timer of timers.get(item) ?? []) clearTimeout(timer)
    timers.delete(item)
    const waited = buffer.remove(item)
    metrics.bufferedRequests.set(buffer.size)
    return waited
  }
  const takeBack = (item: Waiting): boolean => {
    const waited = take(item)
    if (waited) events.invocationGone(item.request.invocationId)
    return waited
  }
  const fail = (item: Waiting, error: PlatformError): void => {
    if (!takeBack(item)) return
    const functionError = error.details?.['functionError']
    if (error.code === 'START_FAILED' && typeof functionError === 'string')
      item.sink.complete(
        Buffer.from(functionError),
        'application/json',
        failedStart(item, error, functionError),
        'Unhandled',
      )
    else item.sink.fail(error)
  }
  /** A start that failed is told to the caller as Lambda tells it, and is on record with nothing to pay. */
  const failedStart = (item: Waiting, error: PlatformError, text: string): InvocationReport => {
    const { request } = item
    const record: UsageRecord = {
      invocationId: request.invocationId,
      attempt: request.attempt,
      tenant: request.revision.tenant,
      name: request.revision.name,
      version: request.revision.version,
      nodeId: deps.nodeId,
      instanceId: String(error.details?.['instanceId']),
      startType: startTypes.find((type) => type === error.details?.['startType']) ?? 'boot',
      outcome: 'start-failed',
      billedMs: 0,
      memoryMiB: 0,
      startedAt: Date.now(),
    }
    try {
      deps.journal.begin(record)
      deps.journal.end(record)
    } catch {
      // Nothing ran and nothing is billed: the record may wait in memory alone.
    }
    deps.usage.publish(record)
    metrics.invocations.inc({ outcome: 'start-failed', start_type: record.startType })
    const { invocationId, instanceId, nodeId, startType, outcome, billedMs, memoryMiB } = record
    const durationMs = performance.now() - item.arrivedAt
    const report: InvocationReport = {
      invocationId,
      instanceId,
      nodeId,
      startType,
      outcome,
      durationMs: 0,
      billedMs,
      memoryMiB,
      maxMemoryMiB: 0,
      phases: [{ name: 'queue', startMs: 0, durationMs }],
      logTail: Buffer.from(text).subarray(0, 4096).toString('base64'),
    }
    events.invocationEnded(invocationId, report)
    return report
  }
  const serve = (key: string): void => {
    for (const endpoint of endpoints.get(key) ?? []) {
      while (endpoint.canPull) {
        const next = buffer.find(key, (item) => endpoint.takes(item.request))
        if (!next) break
        take(next)
        void endpoint.run(next)
      }
    }
  }
  const pullOpened = (endpoint: Endpoint): void => {
    const config = endpoint.input?.config
    if (!config) return
    const key = revisionKey(config)
    const set = endpoints.get(key) ?? new Set<Endpoint>()
    endpoints.set(key, set.add(endpoint))
    serve(key)
  }
  const closed = (endpoint: Endpoint): void => {
    const key = endpoint.input ? revisionKey(endpoint.input.config) : ''
    const set = endpoints.get(key)
    set?.delete(endpoint)
    if (set?.size === 0) endpoints.delete(key)
  }
  const askWhoServes = (item: Waiting): void => {
    if (events.willServe(item.request)) timers.get(item)?.push(setTimeout(askWhoServes, askAfterMs, item))
    else
      fail(
        item,
        events.refusal(item.request.revision) ??
          new PlatformError('NO_INSTANCE', 'no instance of the revision is here or on its way'),
      )
  }

  return {
    async openEndpoint(instanceId: string, socketPath: string): Promise<InstanceEndpoint> {
      const log = new InstanceLog({
        instanceId,
        publisher: deps.logs,
        lineBytes: limits.logLineBytes,
        bytesPerSecond: limits.logBytesPerSecond,
        onDropped: (bytes) => metrics.logBytesDropped.inc(bytes),
      })
      const endpoint = new Endpoint(instanceId, socketPath, log, { ...deps, pullOpened, closed })
      const server = serveRuntimeApi(endpoint, limits)
      endpoint.server = server
      await rm(socketPath, { force: true })
      await listenOnSocket(server, socketPath)
      return endpoint
    },
    waiting: (revision: RevisionRef) => buffer.waiting(revisionKey(revision)).length,
    callingInvocation(instanceId, revision) {
      const key = revisionKey(revision)
      const all = [...(endpoints.get(key) ?? [])]
      const own = all.find((endpoint) => endpoint.instanceId === instanceId)
      if (own) return chooseInvocation(own.requests)
      // It is not initialised yet, for one of those that wait, or a seed, in whose sandbox its forks run.
      const waiting = buffer.waiting(key).map(({ request }) => request)
      const { ticket, traceparent } = chooseInvocation([...all.flatMap(({ requests }) => requests), ...waiting]) ?? {}
      return ticket === undefined ? undefined : { ticket, traceparent, shared: true }
    },
    failWaiting(revision: RevisionRef, error: PlatformError): void {
      for (const item of buffer.waiting(revisionKey(revision))) if (!events.willServe(item.request)) fail(item, error)
    },
    invoke(request: InvocationRequest, sink: AnswerSink): () => void {
      const leftMs = request.deadlineAt - Date.now()
      if (leftMs <= 0) throw new PlatformError('DEADLINE_EXCEEDED', 'the deadline had passed when the request arrived')
      const problem = deps.journal.problem
      if (problem) throw new PlatformError('STORAGE_FULL', problem)
      const key = revisionKey(request.revision)
      if (request.ifIdle && ![...(endpoints.get(key) ?? [])].some((one) => one.canPull && one.takes(request)))
        throw new PlatformError('NO_INSTANCE', 'no instance of the revision is idle here')
      const item: Waiting = { key, bytes: request.bodyBytes, request, sink, arrivedAt: performance.now() }
      buffer.push(item)
      events.invocationArrived(request)
      metrics.bufferedRequests.set(buffer.size)
      const late = () =>
        fail(item, new PlatformError('DEADLINE_EXCEEDED', 'no instance took the request before its deadline'))
      timers.set(item, [setTimeout(late, leftMs), setTimeout(askWhoServes, askAfterMs, item)])
      serve(key)
      return () => void takeBack(item)
    },
  }
}
