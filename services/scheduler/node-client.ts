/** Hop out to the nodes: start and end instances. */
import { Pool as HttpPool } from 'undici'
import { clientTls } from '../chassis/internal-tls.ts'
import { PlatformError } from '../contracts/errors.ts'
import type { StartInstance } from '../contracts/node.ts'
import { protocolHeaders } from '../contracts/protocol.ts'

export interface NodeClient {
  /**
   * Resolves when the node has queued the start. @throws PlatformError what the node refused with; UNAVAILABLE when it did not
   * answer within `timeoutMs`, and the instance may have been started all the same (reports tell).
   */
  start(nodeUrl: string, command: StartInstance): Promise<void>
  /** An idle instance ends at once, a busy one after its requests; one that is not there has ended already. Same errors. */
  end(nodeUrl: string, instanceId: string, reason: string): Promise<void>
  close(): Promise<void>
}

const timeoutMs = 2_000

/** @param ca see `clientTls` */
export const createNodeClient = (token: string, ca?: string): NodeClient => {
  const pools = new Map<string, HttpPool>()
  const poolOf = (nodeUrl: string): HttpPool => {
    const known = pools.get(nodeUrl)
    if (known) return known
    const pool = new HttpPool(nodeUrl, {
      connections: 8,
      pipelining: 1,
      keepAliveTimeout: 30_000,
      ...clientTls(ca, 'node-agent', timeoutMs),
    })
    pools.set(nodeUrl, pool)
    return pool
  }
  const call = async (nodeUrl: string, method: 'POST' | 'DELETE', path: string, body?: string): Promise<void> => {
    const own = { authorization: `Bearer ${token}`, ...protocolHeaders }
    const headers = { ...own, ...(body ? { 'content-type': 'application/json' } : {}) }
    const signal = AbortSignal.timeout(timeoutMs)
    const { statusCode, body: reply } = await poolOf(nodeUrl)
      .request({ method, path, headers, body: body ?? null, signal })
      .catch((cause: unknown) => {
        throw new PlatformError('UNAVAILABLE', `the node at ${nodeUrl} did not answer`, { nodeUrl }, { cause })
      })
    if (statusCode < 300) return reply.dump()
    throw PlatformError.fromBody(await reply.json().catch(() => undefined))
  }
  return {
    start: async (nodeUrl, command) => call(nodeUrl, 'POST', '/v1/instances', JSON.stringify(command)),
    end: async (nodeUrl, instanceId, reason) =>
      call(nodeUrl, 'DELETE', `/v1/instances/${encodeURIComponent(instanceId)}?reason=${encodeURIComponent(reason)}`),
    close: async () => {
      await Promise.all([...pools.values()].map(async (pool) => pool.destroy()))
    },
  }
}
