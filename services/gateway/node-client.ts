/** Hop out to the nodes: one invocation, its body streamed in, its answer streamed out. */
import type { Readable } from 'node:stream'
import { Pool } from 'undici'
import { clientTls } from '../chassis/internal-tls.ts'
import type { TrustOf } from '../chassis/joined-nodes.ts'
import { PlatformError } from '../contracts/errors.ts'
import { invocationHeaders, replyHeaders, type NodeExplanation } from '../contracts/node.ts'
import { protocolHeaders } from '../contracts/protocol.ts'
import type { RevisionRef } from '../contracts/placement.ts'
import type { InvocationReport } from '../contracts/usage.ts'
import { canBeHeld, HeldBody } from './held-body.ts'
import { NodeLost, NodeUnreachable, NodeWatch, type NodeWatchOptions } from './node-watch.ts'

export interface NodeReply {
  readonly contentType: string | undefined
  /** Known before the first byte: then the body is the error. */
  readonly failedAtOnce: string | undefined
  /** Buffered mode: at once. Stream mode: once `body` has ended. */
  readonly functionError: () => string | undefined
  readonly report: () => InvocationReport | undefined
  /** To be read to its end or destroyed. */
  readonly body: Readable
}

export interface NodeRequest {
  readonly invocationId: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | AsyncIterable<Buffer>
  /** Of a streamed body, where it is known: the node's buffer then counts it for what it is. */
  readonly bodyBytes?: number | undefined
  /** No instance is idle: the request will wait on the node, and can be told from one that was started. */
  readonly mayWait: boolean
  readonly signal: AbortSignal
}

export interface NodeClient {
  /**
   * Resolves when the reply begins. @throws NodeUnreachable when the request was not started there; PlatformError what the node answered,
   * INSTANCE_LOST when the connection broke, or the node gave no more signs of life, after it may have been. An abort of `signal` is thrown as it is.
   */
  invoke(nodeUrl: string, request: NodeRequest): Promise<NodeReply>
  /** What the node holds for the revision, and how it would start it. @throws PlatformError what the node answered; UNAVAILABLE */
  explain(nodeUrl: string, revision: RevisionRef): Promise<NodeExplanation>
  /** How the node is trusted is another thing now: what is sent from here on goes over new connections. */
  changed(nodeUrl: string): void
  close(): Promise<void>
}

/** The bytes of a reply as they come. @throws PlatformError INSTANCE_LOST when the connection breaks in the middle */
export async function* bytesOf({ body }: Pick<NodeReply, 'body'>): AsyncGenerator<Buffer> {
  try {
    yield* body as AsyncIterable<Buffer>
  } catch (cause) {
    if (cause instanceof PlatformError) throw cause
    throw new PlatformError(
      'INSTANCE_LOST',
      'the connection to the node broke in the middle of the answer',
      undefined,
      { cause },
    )
  }
}

/** (`buffer` of node:stream/consumers goes by way of a Blob, which costs more than the rest of the answer.) */
export const allBytes = async (bytes: AsyncIterable<Buffer>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(bytes))

/** For operators: one try, and not for long. */
const explainMs = 2_000

const neverSent = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'UND_ERR_CONNECT_TIMEOUT'])

const connectMs = 2_000

export interface NodeClientOptions {
  readonly trustOf: TrustOf
  /** A node gave no more signs of life; its requests have failed. */
  readonly onLost?: (nodeUrl: string) => void
  readonly times?: NodeWatchOptions['times']
}

export const createNodeClient = ({ trustOf, onLost, times = {} }: NodeClientOptions): NodeClient => {
  const authorization = (nodeUrl: string): string => `Bearer ${trustOf(nodeUrl).token}`
  const pools = new Map<string, Pool>()
  /** Replaced ones, until their requests are answered: they are lost with the node like others. */
  const replaced = new Map<Pool, string>()
  const lose = (nodeUrl: string, error: NodeLost): void => {
    for (const [old, of] of replaced) if (of === nodeUrl) void old.destroy(error)
    const pool = pools.get(nodeUrl)
    pools.delete(nodeUrl)
    void pool?.destroy(error)
    onLost?.(nodeUrl)
  }
  /** Requests that it has are answered. */
  const replace = (nodeUrl: string): void => {
    const pool = pools.get(nodeUrl)
    pools.delete(nodeUrl)
    if (!pool) return
    replaced.set(pool, nodeUrl)
    void pool.close().finally(() => replaced.delete(pool))
  }
  const watch = new NodeWatch({ trustOf, onLost: lose, onForgotten: replace, times })
  const poolOf = (nodeUrl: string): Pool => {
    const known = pools.get(nodeUrl)
    if (known) return known
    // Time limits are the invocation's own. The node closes idle connections after 65 s; ours are gone before that.
    const timeouts = { headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 30_000 }
    const pool = new Pool(nodeUrl, {
      connections: 1024,
      pipelining: 1,
      ...timeouts,
      ...clientTls(trustOf(nodeUrl).ca, 'node-agent', connectMs),
    })
    pools.set(nodeUrl, pool)
    return pool
  }
  return {
    invoke: async (nodeUrl, { invocationId, headers, body, bodyBytes, mayWait, signal }) => {
      const reached = watch.reach(nodeUrl)
      const reach = typeof reached === 'string' ? reached : await reached
      const held = mayWait && reach === 'watched' && canBeHeld(body) ? new HeldBody() : undefined
      const length = Buffer.isBuffer(body) ? body.length : bodyBytes
      const reply = await poolOf(nodeUrl)
        .request({
          method: 'POST',
          path: `/v1/invocations/${invocationId}`,
          headers: {
            authorization: authorization(nodeUrl),
            ...protocolHeaders,
            ...headers,
            ...(length === undefined ? {} : { 'content-length': String(length) }),
            ...(held ? { [invocationHeaders.held]: '1' } : {}),
          },
          body: (held ? held.read(body) : body) as Buffer,
          onInfo: () => held?.ask(),
          signal,
        })
        .catch((cause: unknown) => {
          if (signal.aborted || cause instanceof PlatformError) throw cause
          if (neverSent.has((cause as NodeJS.ErrnoException).code ?? '') || held?.asked === false)
            throw new NodeUnreachable(`the node at ${nodeUrl} cannot be reached`, { cause })
          const what = cause instanceof NodeLost ? cause.message : 'the connection to the node broke'
          throw new PlatformError('INSTANCE_LOST', what, { nodeUrl }, { cause })
        })
        .finally(() => held?.drop())
      if (reply.statusCode !== 200) throw PlatformError.fromBody(await reply.body.json().catch(() => undefined))
      const field = (name: string): string | undefined => {
        const trailers = reply.trailers as Record<string, string | undefined>
        const value = reply.headers[name] ?? trailers[name]
        return Array.isArray(value) ? value[0] : value
      }
      const atOnce = reply.headers[replyHeaders.functionError]
      return {
        failedAtOnce: Array.isArray(atOnce) ? atOnce[0] : atOnce,
        contentType: field(replyHeaders.contentType),
        functionError: () => field(replyHeaders.functionError),
        report: () => parseReport(field(replyHeaders.report)),
        body: reply.body,
      }
    },
    explain: async (nodeUrl, revision) => {
      try {
        const reply = await poolOf(nodeUrl).request({
          method: 'POST',
          path: '/v1/explanations',
          headers: { authorization: authorization(nodeUrl), ...protocolHeaders, 'content-type': 'application/json' },
          body: JSON.stringify(revision),
          signal: AbortSignal.timeout(explainMs),
        })
        const value = await reply.body.json()
        if (reply.statusCode === 200) return value as NodeExplanation
        throw PlatformError.fromBody(value)
      } catch (cause) {
        if (cause instanceof PlatformError) throw cause
        throw new PlatformError('UNAVAILABLE', `the node at ${nodeUrl} does not answer`, undefined, { cause })
      }
    },
    changed: replace,
    close: async () => {
      watch.close()
      await Promise.all([...pools.values(), ...replaced.keys()].map(async (pool) => pool.destroy()))
    },
  }
}

const parseReport = (text: string | undefined): InvocationReport | undefined => {
  if (text === undefined) return undefined
  try {
    return JSON.parse(Buffer.from(text, 'base64').toString()) as InvocationReport
  } catch {
    return undefined
  }
}
