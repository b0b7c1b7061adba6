/** Hop out to the scheduler: a place for an invocation, the end of its lease, and what it knows of the nodes. */
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'
import { clientTls } from '../chassis/internal-tls.ts'
import { PlatformError } from '../contracts/errors.ts'
import { protocolHeaders } from '../contracts/protocol.ts'
import type { Explanation, Placement, PlacementRequest } from '../contracts/placement.ts'

/** A node as the scheduler sees it; passed on to operators with whatever else the scheduler tells of it. */
export interface NodeSummary {
  readonly nodeId: string
  readonly url: string
  readonly accepting: boolean
  readonly capacity: { readonly memoryMiB: number; readonly instances: number; readonly cpus: number }
}

export interface SchedulerClient {
  /**
   * Goes on trying while the scheduler cannot be reached (a restart), at most `patienceMs` and not past the deadline.
   * @throws PlatformError what the scheduler answered; UNAVAILABLE when it could not be reached; DEADLINE_EXCEEDED.
   */
  place(request: PlacementRequest, signal: AbortSignal): Promise<Placement>
  /** The invocation's answer is here in full: told with the next placement. */
  ended(invocationId: string): void
  /** Gives the lease back. Never throws: a lease that is not given back ends at the deadline. */
  release(invocationId: string): Promise<void>
  /** What `place` would decide now. @throws PlatformError what the scheduler answered; UNAVAILABLE. */
  explain(request: PlacementRequest): Promise<Explanation>
  nodes(): Promise<NodeSummary[]>
  close(): Promise<void>
}

const patienceMs = 10_000
/** Told at once, and remembered at all: what is left out the nodes report. */
const mostEnded = 1000
const firstBackoffMs = 25
const maxBackoffMs = 500

/** @param ca see `clientTls` */
export const createSchedulerClient = (schedulerUrl: string, token: string, ca?: string): SchedulerClient => {
  // The scheduler closes idle connections after 65 s; ours are gone before that.
  const pool = new Pool(schedulerUrl, {
    connections: 64,
    pipelining: 1,
    keepAliveTimeout: 30_000,
    ...clientTls(ca, 'scheduler', 2_000),
  })
  const headers = { authorization: `Bearer ${token}`, ...protocolHeaders }
  const json = { ...headers, 'content-type': 'application/json' }

  const ended = new Set<string>()
  const takeEnded = (): { ended?: string[] } => {
    if (ended.size === 0) return {}
    const taken = [...ended]
    ended.clear()
    return { ended: taken }
  }

  const tryPlace = async (request: PlacementRequest, signal: AbortSignal): Promise<Placement> => {
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path: '/v1/placements',
      headers: json,
      body: JSON.stringify({ ...request, ...takeEnded() }),
      headersTimeout: Math.max(1, request.deadlineAt - Date.now()),
      signal,
    })
    const reply: unknown = await body.json().catch(() => undefined)
    if (statusCode === 200) return reply as Placement
    throw PlatformError.fromBody(reply)
  }

  /** For operators: one try, and not for long. */
  const ask = async <T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> => {
    try {
      const given = body === undefined ? { headers } : { headers: json, body: JSON.stringify(body) }
      const reply = await pool.request({ method, path, ...given, signal: AbortSignal.timeout(2_000) })
      const value = await reply.body.json()
      if (reply.statusCode === 200) return value as T
      throw PlatformError.fromBody(value)
    } catch (cause) {
      if (cause instanceof PlatformError) throw cause
      throw new PlatformError('UNAVAILABLE', 'the scheduler does not answer', undefined, { cause })
    }
  }

  return {
    place: async (request, signal) => {
      const giveUpAt = Math.min(request.deadlineAt, Date.now() + patienceMs)
      for (let backoffMs = firstBackoffMs; ; backoffMs = Math.min(maxBackoffMs, backoffMs * 2)) {
        try {
          return await tryPlace(request, signal)
        } catch (error) {
          if (error instanceof PlatformError || signal.aborted) throw error
          if (Date.now() + backoffMs > giveUpAt)
            throw new PlatformError('UNAVAILABLE', 'the scheduler does not answer', undefined, { cause: error })
        }
        await delay(backoffMs, undefined, { signal })
      }
    },
    ended: (invocationId) => {
      if (ended.size < mostEnded) ended.add(invocationId)
    },
    release: async (invocationId) => {
      try {
        const path = `/v1/placements/${encodeURIComponent(invocationId)}`
        const { body } = await pool.request({ method: 'DELETE', path, headers, signal: AbortSignal.timeout(2_000) })
        await body.dump()
      } catch {
        // The lease ends by itself.
      }
    },
    explain: (request) => ask('POST', '/v1/explanations', request),
    nodes: async () => (await ask<{ nodes: NodeSummary[] }>('GET', '/v1/nodes')).nodes,
    close: async () => pool.destroy(),
  }
}
