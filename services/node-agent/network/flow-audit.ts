/** Reads what the filter tells, and brings it to the stream AUDIT. */
import type { FlowRecord } from '../../contracts/audit.ts'
import type { AuditRecord } from '../../contracts/audit.ts'
import { subjects } from '../../contracts/subjects.ts'
import type { BatchPublisher } from '../batch-publisher.ts'
import { formatMapped } from './addresses.ts'
import type { FilterMaps } from './filter-maps.ts'
import type { FlowEvent } from './map-encoding.ts'
import type { NodeNetwork, Tenancy } from './node-network.ts'

export interface AuditDeps {
  readonly nodeId: string
  readonly publisher: Pick<BatchPublisher, 'add' | 'flush'>
}

const readEveryMs = 25
const protocolNames: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp' }

/** The kernel's monotonic clock is Node.js's too: this is where it stands to `performance.now()`, in milliseconds. */
const clockOffsetMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** @param atMs `performance.now()` */
export const whoAt = (nodeId: string, { instanceId, config, invocationAt }: Tenancy, atMs: number) => {
  const { tenant, name, version } = config
  const invocationId = invocationAt(atMs)
  const at = performance.timeOrigin + atMs
  return { at, tenant, name, version, nodeId, instanceId, ...(invocationId === undefined ? {} : { invocationId }) }
}

export class Audit {
  readonly #deps: AuditDeps

  constructor(deps: AuditDeps) {
    this.#deps = deps
  }

  add(record: AuditRecord): void {
    this.#deps.publisher.add(subjects.audit(record.tenant, record.name), record)
  }

  flow(event: FlowEvent, tenancy: Tenancy): void {
    this.add(flowRecord(this.#deps.nodeId, event, tenancy))
  }

  flush(): Promise<void> {
    return this.#deps.publisher.flush()
  }
}

export const flowRecord = (nodeId: string, event: FlowEvent, tenancy: Tenancy): FlowRecord => ({
  kind: 'flow',
  ...whoAt(nodeId, tenancy, Number(event.at) / 1e6 - clockOffsetMs),
  verdict: event.kind,
  reason: event.reason,
  direction: event.direction,
  protocol: protocolNames[event.protocol] ?? String(event.protocol),
  localPort: event.localPort,
  remoteAddress: formatMapped(event.remote, event.family),
  remotePort: event.remotePort,
})

/** Reads until it is stopped; the last time when it is. @param onLost counts of what is in no record, since the last call. */
export const startFlowAudit = (
  maps: Pick<FilterMaps, 'readEvents' | 'count'>,
  network: Pick<NodeNetwork, 'tenancyOf'>,
  audit: Audit,
  onLost: (events: number) => void,
): (() => void) => {
  let lost = 0
  const read = (): void => {
    for (let events = maps.readEvents(); events.length > 0; events = maps.readEvents())
      for (const event of events) {
        const tenancy = network.tenancyOf(event.lease)
        if (tenancy) audit.flow(event, tenancy)
        else onLost(1)
      }
    const now = maps.count('lostEvents')
    if (now > lost) onLost(now - lost)
    lost = now
  }
  const timer = setInterval(read, readEveryMs)
  return () => {
    clearInterval(timer)
    read()
  }
}
