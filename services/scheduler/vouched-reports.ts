/** Which reports count. The stack's nodes share a user in NATS; one that joined by a token is what its record says, and nothing else. */
import type { JoinedNodes } from '../chassis/joined-nodes.ts'
import { isJoinedId } from '../contracts/joining.ts'

/** Of a report, or of what a node tells of its files. */
export interface Told {
  readonly nodeId: string
  readonly url?: string | undefined
  readonly pool?: string | undefined
}

/** @param toldAs node in the subject, which NATS lets a joined node choose for nobody else @returns why it does not count */
export const objection = (
  toldAs: string | undefined,
  { nodeId, url, pool }: Told,
  joined: Pick<JoinedNodes, 'get' | 'byUrl'>,
): string | undefined => {
  if (toldAs !== nodeId) return `it was told as ${String(toldAs)}`
  if (!isJoinedId(nodeId))
    return url !== undefined && joined.byUrl(url) ? 'its URL is that of a node that joined' : undefined
  const record = joined.get(nodeId)
  if (!record) return 'it has not joined, or was removed'
  if (url !== undefined && url !== record.url) return `it joined with another URL, ${record.url}`
  if (pool !== undefined && pool !== record.pool) return `it joined for another pool, ${record.pool}`
  return undefined
}
