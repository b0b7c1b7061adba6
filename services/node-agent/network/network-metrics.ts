import { Counter, type Registry } from 'prom-client'

export const createNetworkMetrics = (registry: Registry) => ({
  auditRecordsDropped: new Counter({
    name: 'forkyard_node_audit_records_dropped_total',
    help: 'Flows and questions that are in no audit record: told faster than they were read, or lost while NATS was away',
    registers: [registry],
  }),
})
export type NetworkMetrics = ReturnType<typeof createNetworkMetrics>
