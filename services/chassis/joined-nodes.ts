/** Nodes that joined by a token, followed in the store: who they are, and how to deal with each. */
import { isDeepStrictEqual } from 'node:util'
import type { KvEntry } from '@nats-io/kv'
import { Compile } from 'typebox/compile'
import { derivedToken, JoinedNode } from '../contracts/joining.ts'
import { joinedNodeKey } from '../contracts/subjects.ts'
import type { HopTrust } from './internal-tls.ts'
import type { Verifier } from './signing.ts'
import { WatchedBucket, type BucketDeps } from './watched-bucket.ts'

/** @param nodeUrl base URL of its agent */
export type TrustOf = (nodeUrl: string) => HopTrust

export interface JoinedNodes {
  get(nodeId: string): JoinedNode | undefined
  byUrl(url: string): JoinedNode | undefined
  all(): JoinedNode[]
  /** As the store has it now. */
  confirm(nodeId: string): Promise<JoinedNode | undefined>
  start(): void
  close(): void
}

const schema = Compile(JoinedNode)

/** @param changed told after each change of a record, with the URLs that it had and has */
export const followJoinedNodes = (
  deps: BucketDeps & { readonly verifier: Verifier },
  changed: (nodeId: string, urls: readonly string[]) => void = () => undefined,
): JoinedNodes => {
  const { verifier, logger } = deps
  const byUrl = new Map<string, JoinedNode>()
  const read = (entry: KvEntry): JoinedNode | undefined => {
    try {
      const node = schema.Parse(entry.json())
      verifier.check(entry.key, node)
      if (entry.key !== joinedNodeKey(node.nodeId)) throw new Error('it names another node')
      return node
    } catch (err) {
      logger.error({ err, key: entry.key }, 'the record of a node cannot be read: nobody deals with the node')
      return undefined
    }
  }
  // A record that cannot be read takes the place of one that could.
  const bucket = new WatchedBucket<{ readonly node: JoinedNode | undefined }>(deps, {
    name: 'joined nodes',
    filter: joinedNodeKey('*'),
    read: (entry) => ({ node: read(entry) }),
    changed: (_key, before, after) => {
      const [was, is] = [before?.node, after?.node]
      if (was && byUrl.get(was.url)?.nodeId === was.nodeId) byUrl.delete(was.url)
      if (is) byUrl.set(is.url, is)
      const nodeId = (is ?? was)?.nodeId
      // Read again, and the same.
      if (isDeepStrictEqual(was, is)) return
      if (nodeId !== undefined) changed(nodeId, [...new Set([was, is].flatMap((node) => (node ? [node.url] : [])))])
    },
  })
  return {
    get: (nodeId) => bucket.get(joinedNodeKey(nodeId))?.node,
    byUrl: (url) => byUrl.get(url),
    all: () => [...bucket.values()].flatMap(({ node }) => (node ? [node] : [])),
    confirm: async (nodeId) => (await bucket.confirm(joinedNodeKey(nodeId)))?.value?.node,
    start: () => bucket.start(),
    close: () => bucket.close(),
  }
}

/** Nodes of the stack by the token and authority of the hop, joined ones by their own. */
export const trustOfNodes =
  (nodes: Pick<JoinedNodes, 'byUrl'>, token: string, ca: string | undefined): TrustOf =>
  (nodeUrl) => {
    const joined = nodes.byUrl(nodeUrl)
    if (!joined) return { token, ca }
    const { nodeId, certificates } = joined
    return { token: derivedToken(token, nodeId), ca: certificates.length > 0 ? certificates.join('\n') : undefined }
  }
