import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export const createGatewayMetrics = (registry: Registry) => {
  return {
    bufferedRequests: new Gauge({
      name: 'forkyard_node_buffered_requests',
      help: 'Requests that wait for an instance',
      registers: [registry],
    }),
    invocations: new Counter({
      name: 'forkyard_node_invocations_total',
      help: 'Invocations that ended',
      labelNames: ['outcome', 'start_type'] as const,
      registers: [registry],
    }),
    queueSeconds: new Histogram({
      name: 'forkyard_node_queue_seconds',
      help: 'From arrival at the node to the pull',
      buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers: [registry],
    }),
    logBytesDropped: new Counter({
      name: 'forkyard_node_log_bytes_dropped_total',
      help: 'Log bytes over a limit, or lost while NATS was away',
      registers: [registry],
    }),
  }
}
export type GatewayMetrics = ReturnType<typeof createGatewayMetrics>
