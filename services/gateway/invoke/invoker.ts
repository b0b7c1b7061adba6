/**
 * The path of every invocation: place it, send it to the node, and look for another place when it provably never started.
 * One deadline bounds all of it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { PlatformError } from '../../contracts/errors.ts'
import { placementRequest } from '../placement-request.ts'
import { functionArn, type VersionConfig } from '../../contracts/function.ts'
import { invocationHeaders } from '../../contracts/node.ts'
import type { Placement, StartWish } from '../../contracts/placement.ts'
import type { Tickets } from '../calls/tickets.ts'
import type { NodeClient, NodeReply } from '../node-client.ts'
import { NodeUnreachable } from '../node-watch.ts'
import type { Registry } from '../registry.ts'
import type { SchedulerClient } from '../scheduler-client.ts'
import type { ReplayableBody } from './replayable-body.ts'

export interface Invocation {
  readonly invocationId: string
  readonly attempt: number
  /** Asked again for every placement: a deploy may replace the revision while a place is sought. @throws NOT_FOUND */
  readonly resolve: () => VersionConfig
  readonly qualifier: string | undefined
  readonly kind: 'event' | 'http'
  readonly responseMode: 'buffered' | 'stream'
  readonly body: Buffer | ReplayableBody
  /** Of a streamed body, where it is known. */
  readonly bodyBytes?: number | undefined
  readonly startWish: StartWish
  readonly clientContext?: string | undefined
  readonly traceparent?: string | undefined
  /** Calls of functions that led to this one. Default 0: it comes from outside. */
  readonly hops?: number | undefined
  /** Aborted when the caller goes away. */
  readonly signal: AbortSignal
}

export interface Invoked {
  readonly reply: NodeReply
  readonly config: VersionConfig
  /** All placements together. */
  readonly placeMs: number
  /** Of that, waiting in the scheduler. */
  readonly waitedMs: number
  /** `performance.now()` at which the request went to the node that answered. */
  readonly sentAt: number
}

export interface Invoker {
  /** Resolves when the reply begins. @throws PlatformError */
  invoke(invocation: Invocation): Promise<Invoked>
}

/** Refused by nodes that are there. */
const maxPlacements = 3
/** Nodes that are away, as in their restart, are waited for a while. */
const patienceMs = 10_000
const firstBackoffMs = 20
const maxBackoffMs = 500

export interface InvokerDeps {
  readonly scheduler: SchedulerClient
  readonly nodes: NodeClient
  /** Of the function as a whole. */
  readonly registry: Pick<Registry, 'get'>
  readonly region: string
  readonly startBudgetMs: number
  readonly tickets: Pick<Tickets, 'issue'>
}

export const createInvoker = ({
  scheduler,
  nodes,
  registry,
  region,
  startBudgetMs,
  tickets,
}: InvokerDeps): Invoker => ({
  invoke: async (invocation) => {
    const { invocationId, body } = invocation
    const deadlineAt = Date.now() + startBudgetMs + invocation.resolve().timeoutMs
    // A moment later than the node's own: its answer says more than ours.
    const deadline = AbortSignal.timeout(deadlineAt - Date.now() + 1_000)
    const signal = AbortSignal.any([invocation.signal, deadline])
    const giveUpAt = Math.min(deadlineAt, Date.now() + patienceMs)
    const excludeNodes: string[] = []
    let placeMs = 0
    let waitedMs = 0
    let leased = false
    let refusals = 0
    let mayGoDirect = true
    const ticketOf = ({ tenant, name, version }: VersionConfig): Record<string, string> => {
      const { hops = 0 } = invocation
      return { [invocationHeaders.ticket]: tickets.issue({ tenant, name, version, invocationId, deadlineAt, hops }) }
    }
    try {
      for (let backoffMs = firstBackoffMs; ; backoffMs = Math.min(maxBackoffMs, backoffMs * 2)) {
        const config = invocation.resolve()
        const { startWish } = invocation
        const from = performance.now()
        const asked = { invocationId, startWish, deadlineAt, excludeNodes: [...excludeNodes] }
        const request = placementRequest(config, registry.get(config.tenant, config.name), asked)
        const placement = await scheduler.place(request, signal, mayGoDirect)
        leased = !placement.direct
        const sentAt = performance.now()
        placeMs += sentAt - from
        waitedMs += placement.waitedMs ?? 0
        try {
          const reply = await nodes.invoke(placement.nodeUrl, {
            invocationId,
            headers: {
              ...headersOf(invocation, config, deadlineAt, region),
              ...ifIdle(placement),
              ...ticketOf(config),
            },
            body: Buffer.isBuffer(body) ? body : body.read(),
            bodyBytes: invocation.bodyBytes,
            mayWait: placement.decision !== 'idle',
            signal,
          })
          if (!Buffer.isBuffer(body)) body.release()
          reply.body.once('end', () => scheduler.over(invocationId))
          return { reply, config, placeMs, waitedMs, sentAt }
        } catch (error) {
          if (!neverStarted(error)) throw error
          if (placement.direct) {
            // No idle instance there: whoever leads next knows better.
            mayGoDirect = false
            continue
          }
          if (!(error instanceof NodeUnreachable) && ++refusals >= maxPlacements) throw error
          if (Date.now() + backoffMs > giveUpAt) throw error
          if (!excludeNodes.includes(placement.nodeId)) excludeNodes.push(placement.nodeId)
          // The registry of node or gateway may be a moment behind a deploy.
          await delay(backoffMs, undefined, { signal })
        }
      }
    } catch (error) {
      // Whoever holds a lease after this is known by the node's report; one of an invocation that has ended is gone already.
      if (leased && !mayRun(error)) scheduler.over(invocationId)
      if (signal.aborted && !(error instanceof PlatformError)) {
        if (deadline.aborted)
          throw new PlatformError('DEADLINE_EXCEEDED', 'the deadline passed before an answer', { deadlineAt })
        throw new PlatformError('UNAVAILABLE', 'the caller went away', undefined, { cause: error })
      }
      throw toUnavailable(error)
    }
  },
})

/** Said by a node before any instance has the request. */
const refusing = new Set(['NO_INSTANCE', 'NO_CAPACITY', 'TOO_MANY_REQUESTS', 'STORAGE_FULL', 'UNSUPPORTED_PROTOCOL'])

const neverStarted = (error: unknown): boolean =>
  error instanceof NodeUnreachable || (error instanceof PlatformError && refusing.has(error.code))

const mayRun = (error: unknown): boolean => error instanceof PlatformError && error.code === 'INSTANCE_LOST'

/** What only this hop understands, in words for the caller. */
const toUnavailable = (error: unknown): unknown =>
  error instanceof NodeUnreachable || (error instanceof PlatformError && error.code === 'NO_INSTANCE')
    ? new PlatformError('UNAVAILABLE', 'no node took the request', undefined, { cause: error })
    : error

const ifIdle = ({ direct }: Placement): Record<string, string> => (direct ? { [invocationHeaders.ifIdle]: '1' } : {})

const headersOf = (
  invocation: Invocation,
  config: VersionConfig,
  deadlineAt: number,
  region: string,
): Record<string, string> => {
  const { tenant, name, version, revisionId } = config
  const headers: Record<string, string> = {
    [invocationHeaders.revision]: JSON.stringify({ tenant, name, version, revisionId }),
    [invocationHeaders.deadlineAt]: String(deadlineAt),
    [invocationHeaders.timeoutMs]: String(config.timeoutMs),
    [invocationHeaders.kind]: invocation.kind,
    [invocationHeaders.responseMode]: invocation.responseMode,
    [invocationHeaders.functionArn]: functionArn(region, tenant, name, invocation.qualifier),
    [invocationHeaders.attempt]: String(invocation.attempt),
    'content-type': 'application/octet-stream',
  }
  if (invocation.startWish !== 'auto') headers[invocationHeaders.forcedStart] = '1'
  if (invocation.clientContext !== undefined) headers[invocationHeaders.clientContext] = invocation.clientContext
  if (invocation.traceparent !== undefined) headers[invocationHeaders.traceparent] = invocation.traceparent
  return headers
}
