/** Hop out to the scheduler: a place for an invocation, the end of its lease, and what it knows of the nodes. */
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'
import { clientTls } from '../chassis/internal-tls.ts'
import type { ProvisionedState } from '../contracts/claims.ts'
import { PlatformError } from '../contracts/errors.ts'
import { protocolHeaders } from '../contracts/protocol.ts'
import type { Explanation, Placement, PlacementRequest, RevisionRef } from '../contracts/placement.ts'
import { followClaims, type ClaimSource } from './claims.ts'
import { NoLeader, PlacementLinks } from './placement-links.ts'
import { RecentPlaces } from './recent-places.ts'
import type { Registry } from './registry.ts'

/** A node as the scheduler sees it; passed on to operators with whatever else the scheduler tells of it. */
export interface NodeSummary {
  readonly nodeId: string
  readonly url: string
  readonly accepting: boolean
  readonly capacity: { readonly memoryMiB: number; readonly instances: number; readonly cpus: number }
}

export type NodeAction = 'cordon' | 'drain' | 'uncordon'

export interface SchedulerClient {
  /**
   * While no scheduler leads (one died), tells the node that the revision's last request went to; if there is none, or `mayGoDirect` is
   * false, goes on trying, at most `patienceMs` and not past the deadline.
   *
   * @throws PlatformError what the scheduler answered; UNAVAILABLE when it could not be reached; DEADLINE_EXCEEDED.
   */
  place(request: PlacementRequest, signal: AbortSignal, mayGoDirect: boolean): Promise<Placement>
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
  /** The scheduler that leads does so with the node. @throws PlatformError NOT_FOUND; UNAVAILABLE when the scheduler or the node does not answer */
  tellNode(nodeId: string, action: NodeAction, reason: string): Promise<void>
  /** How far each provisioned revision is, in their order. @throws PlatformError UNAVAILABLE while nobody leads */
  provisioned(revisions: readonly RevisionRef[]): Promise<ProvisionedState[]>
  /** Tells all schedulers what is claimed: on each connection, and when it changes. */
  follow(registry: Registry): void
  close(): Promise<void>
}

const patienceMs = 10_000
const firstBackoffMs = 25
const maxBackoffMs = 500

/** @param ca see `clientTls` */
export const createSchedulerClient = (urls: readonly string[], token: string, ca?: string): SchedulerClient => {
  const links = new PlacementLinks(urls, token, ca)
  const recent = new RecentPlaces()
  // For operators. The scheduler closes idle connections after 65 s; ours are gone before that.
  const pools = urls.map(
    (url) =>
      new Pool(url, {
        connections: 4,
        pipelining: 1,
        keepAliveTimeout: 30_000,
        ...clientTls(ca, 'scheduler', 2_000),
      }),
  )
  const headers = { authorization: `Bearer ${token}`, ...protocolHeaders }
  const json = { ...headers, 'content-type': 'application/json' }

  /** One try with each, and not for long: those that do not lead know the nodes too. What only the leader does the others refuse. */
  const ask = async <T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> => {
    let unreachable: unknown
    for (const pool of pools) {
      try {
        const given = body === undefined ? { headers } : { headers: json, body: JSON.stringify(body) }
        const reply = await pool.request({ method, path, ...given, signal: AbortSignal.timeout(2_000) })
        if (reply.statusCode === 204) return undefined as T
        const value = await reply.body.json()
        if (reply.statusCode === 200) return value as T
        throw PlatformError.fromBody(value)
      } catch (cause) {
        if (cause instanceof PlatformError && cause.code !== 'NOT_LEADER') throw cause
        unreachable = cause
      }
    }
    throw new PlatformError('UNAVAILABLE', 'the scheduler does not answer', undefined, { cause: unreachable })
  }

  const direct = ({ invocationId, startWish, revision }: PlacementRequest): Placement | undefined => {
    const place = startWish === 'auto' ? recent.of(revision) : undefined
    const reason = 'no scheduler leads; the last request of the revision went there'
    return place && { invocationId, ...place, decision: 'idle', reason, direct: true }
  }

  return {
    place: async (request, signal, mayGoDirect) => {
      const giveUpAt = Math.min(request.deadlineAt, Date.now() + patienceMs)
      for (let backoffMs = firstBackoffMs; ; backoffMs = Math.min(maxBackoffMs, backoffMs * 2)) {
        try {
          const placement = await links.place(request, signal, !mayGoDirect)
          recent.placed(request.revision, placement)
          return placement
        } catch (error) {
          if (!(error instanceof NoLeader)) throw error
          const placement = mayGoDirect ? direct(request) : undefined
          if (placement) return placement
          if (Date.now() + backoffMs > giveUpAt)
            throw new PlatformError('UNAVAILABLE', 'no scheduler answers', undefined, { cause: error })
        }
        await delay(backoffMs, undefined, { signal })
      }
    },
    over: (invocationId) => links.over(invocationId),
    isThere: async () => links.isThere(),
    explain: (request) => ask('POST', '/v1/explanations', request),
    provisioned: async (revisions) =>
      revisions.length === 0 ? [] : ask<ProvisionedState[]>('POST', '/v1/provisioned', revisions),
    follow: (registry) => {
      const source: ClaimSource = followClaims(registry, {
        changed: (claim) => links.claimChanged(claim),
        complete: () => links.claim(() => source.all()),
      })
      links.claim(() => source.all())
    },
    nodes: async () => (await ask<{ nodes: NodeSummary[] }>('GET', '/v1/nodes')).nodes,
    tellNode: (nodeId, action, reason) => ask('POST', `/v1/nodes/${encodeURIComponent(nodeId)}/${action}`, { reason }),
    close: async () => {
      links.close()
      await Promise.all(pools.map(async (pool) => pool.destroy()))
    },
  }
}
