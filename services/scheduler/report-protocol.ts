/** Reports of nodes that are too far from this scheduler's version to be understood. */
import type { Msg } from '@nats-io/transport-node'
import type { Logger } from '../chassis/log.ts'
import { protocolHeader, requireKnownProtocol } from '../contracts/protocol.ts'

/**
 * A node that is not understood does not exist for this scheduler, and gets no placement. It reports each second and is logged once, until it is
 * understood.
 *
 * @returns whether a report may be read
 */
export const createReportFilter = (logger: Logger) => {
  const foreign = new Set<string>()
  return ({ headers, subject }: Pick<Msg, 'headers' | 'subject'>): boolean => {
    try {
      requireKnownProtocol(headers?.get(protocolHeader) || undefined)
      foreign.delete(subject)
      return true
    } catch (error) {
      if (!foreign.has(subject)) logger.error({ err: error, subject }, 'reports: a node speaks another protocol')
      foreign.add(subject)
      return false
    }
  }
}
