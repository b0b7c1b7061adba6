/** Hop out to the nodes: start and end instances, over one link to each. */
import type { TrustOf } from '../chassis/joined-nodes.ts'
import { LinkClient } from '../chassis/link/client.ts'
import type { Message } from '../chassis/link/link.ts'
import { PlatformError } from '../contracts/errors.ts'
import { instanceLink } from '../contracts/links.ts'
import type { Cordon, StartInstance } from '../contracts/node.ts'

export interface NodeClient {
  /**
   * Resolves when the node has queued the start. @throws PlatformError what the node refused with; UNAVAILABLE when it did not
   * answer within `timeoutMs`, and the instance may have been started all the same (reports tell).
   */
  start(nodeUrl: string, command: StartInstance, term: number): Promise<void>
  /**
   * An idle instance ends at once, a busy one after its requests; one that is not there has ended already. Same errors.
   *
   * @param hurry false: it may be told within a second, with whatever else the node is told; before whatever is told later
   */
  end(nodeUrl: string, instanceId: string, reason: string, term: number, hurry: boolean): Promise<void>
  /** Nothing new for the node, or again: it keeps that, and its reports tell. Same errors. */
  cordon(nodeUrl: string, cordon: Cordon | undefined): Promise<void>
  /** The node is gone. */
  forget(nodeUrl: string): void
  close(): Promise<void>
}

const timeoutMs = 2_000
/** Of what may go with the next sign of life. */
const unhurriedTimeoutMs = timeoutMs + 1_000

export const createNodeClient = (trustOf: TrustOf): NodeClient => {
  const links = new Map<string, LinkClient>()
  const linkOf = (nodeUrl: string): LinkClient => {
    const known = links.get(nodeUrl)
    if (known) return known
    const options = {
      url: nodeUrl,
      path: instanceLink,
      trust: () => trustOf(nodeUrl),
      service: 'node-agent',
      connectMs: timeoutMs,
    } as const
    const link = new LinkClient(options)
    links.set(nodeUrl, link)
    return link
  }
  const call = async (nodeUrl: string, kind: string, args: Message, hurry = true): Promise<void> => {
    try {
      const link = linkOf(nodeUrl)
      if (!link.isOpen) await link.open()
      await link.call(kind, args, { timeoutMs: hurry ? timeoutMs : unhurriedTimeoutMs, hurry })
    } catch (cause) {
      if (cause instanceof PlatformError) throw cause
      throw new PlatformError('UNAVAILABLE', `the node at ${nodeUrl} did not answer`, { nodeUrl }, { cause })
    }
  }
  const forget = (nodeUrl: string): void => {
    links.get(nodeUrl)?.close()
    links.delete(nodeUrl)
  }
  return {
    start: async (nodeUrl, command, term) => call(nodeUrl, 'start', [term, command]),
    end: async (nodeUrl, instanceId, reason, term, hurry) => call(nodeUrl, 'end', [term, instanceId, reason], hurry),
    cordon: async (nodeUrl, cordon) => call(nodeUrl, 'cordon', [cordon ?? null]),
    forget,
    close: async () => {
      for (const nodeUrl of links.keys()) forget(nodeUrl)
    },
  }
}
