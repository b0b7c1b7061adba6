/** Hop out to the scheduler: a place for an invocation, the end of its lease, and what it knows of the nodes. */
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'
import { clientTls } from '../chassis/internal-tls.ts'
import { PlatformError } from '../contracts/errors.ts'
import { protocolHeaders } from '../contracts/protocol.ts'
import type { Explanation, Placement, PlacementRequest } from '../contracts/placement.ts'
import { PlacementLink } from './placement-link.ts'

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
  /**
   * The invocation holds its slot no longer: its answer is here in full, or it was given up. Told at once if the scheduler is there;
   * otherwise the node reports it, and no lease outlives its deadline.
   */
  over(invocationId: string): void
  /** A scheduler answers; otherwise one is looked for. */
  isThere(): Promise<boolean>
  /** What `place` would decide now. @throws PlatformError what the scheduler answered; UNAVAILABLE. */
  explain(request: PlacementRequest): Promise<Explanation>
  nodes(): Promise<NodeSummary[]>
  close(): Promise<void>
}

const patienceMs = 10_000
const firstBackoffMs = 25
const maxBackoffMs = 500

/** @param ca see `clientTls` */
export const createSchedulerClient = (schedulerUrl: string, token: string, ca?: string): SchedulerClient => {
  const link = new PlacementLink(schedulerUrl, token, ca)
  // For operators. The scheduler closes idle connections after 65 s; ours are gone before that.
  const pool = new Pool(schedulerUrl, {
    connections: 4,
    pipelining: 1,
    keepAliveTimeout: 30_000,
    ...clientTls(ca, 'scheduler', 2_000),
  })
  const headers = { authorization: `Bearer ${token}`, ...protocolHeaders }
  const json = { ...headers, 'content-type': 'application/json' }

  /** One try, and not for long. */
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
          return await link.place(request, signal)
        } catch (error) {
          if (error instanceof PlatformError || signal.aborted) throw error
          if (Date.now() + backoffMs > giveUpAt)
            throw new PlatformError('UNAVAILABLE', 'the scheduler does not answer', undefined, { cause: error })
        }
        await delay(backoffMs, undefined, { signal })
      }
    },
    over: (invocationId) => link.over(invocationId),
    isThere: async () => link.isThere(),
    explain: (request) => ask('POST', '/v1/explanations', request),
    nodes: async () => (await ask<{ nodes: NodeSummary[] }>('GET', '/v1/nodes')).nodes,
    close: async () => {
      link.close()
      await pool.destroy()
    },
  }
}
