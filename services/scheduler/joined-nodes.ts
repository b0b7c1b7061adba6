/** Nodes that joined by a token, as far as schedulers need them: from when a gateway has made their bucket. */
import type { KV } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import { followJoinedNodes, type JoinedNodes } from '../chassis/joined-nodes.ts'
import type { Logger } from '../chassis/log.ts'
import { whenReady } from '../chassis/nats.ts'
import { createVerifier, type VerifyingKeys } from '../chassis/signing.ts'

export interface FollowOptions {
  readonly connection: NatsConnection
  /** Of the bucket; fails until it is there. */
  readonly open: () => Promise<KV>
  /** Absent: none can join. */
  readonly verifyingKeys: VerifyingKeys | undefined
  readonly logger: Logger
  /** @param isNode false: it was removed @param urls that it had and has */
  readonly onChange: (nodeId: string, isNode: boolean, urls: readonly string[]) => void
}

/** At once; no placement waits for it. */
export const followJoined = ({
  connection,
  open,
  verifyingKeys,
  logger,
  onChange,
}: FollowOptions): Pick<JoinedNodes, 'get' | 'byUrl' | 'close'> => {
  let joined: JoinedNodes | undefined
  let closed = false
  const follow = async (keys: VerifyingKeys): Promise<void> => {
    const kv = await whenReady(connection, logger, open)
    if (closed) return
    const deps = { kv, connection, logger, verifier: createVerifier(keys) }
    joined = followJoinedNodes(deps, (nodeId, urls) => onChange(nodeId, joined?.get(nodeId) !== undefined, urls))
    joined.start()
  }
  if (verifyingKeys)
    follow(verifyingKeys).catch((err: unknown) => logger.error({ err }, 'nodes that joined cannot be followed'))
  return {
    get: (nodeId) => joined?.get(nodeId),
    byUrl: (url) => joined?.byUrl(url),
    close: () => {
      closed = true
      joined?.close()
    },
  }
}
