import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export const createGatewayMetrics = (registry: Registry) => {
  const registers = [registry]
  return {
    requests: new Counter({
      name: 'forkyard_gateway_requests_total',
      help: 'Requests by operation and HTTP status',
      labelNames: ['operation', 'status'] as const,
      registers,
    }),
    invocationSeconds: new Histogram({
      name: 'forkyard_gateway_invocation_seconds',
      help: 'From the arrival of an invocation to the end of its answer, by start type',
      labelNames: ['start_type'] as const,
      // Close together where start types differ.
      buckets: [
        0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4,
        0.5, 0.75, 1, 2.5, 5, 10, 30, 60, 300, 900,
      ],
      registers,
    }),
    lostNodes: new Counter({
      name: 'forkyard_gateway_lost_nodes_total',
      help: 'Nodes that gave this gateway no more signs of life',
      registers,
    }),
    asyncDepth: new Gauge({
      name: 'forkyard_gateway_async_events',
      help: 'Events in the asynchronous queue: pending wait, in_flight are handled or wait for their next attempt',
      labelNames: ['state'] as const,
      registers,
    }),
    asyncOldestSeconds: new Gauge({
      name: 'forkyard_gateway_async_oldest_seconds',
      help: 'Age of the oldest event in the asynchronous queue',
      registers,
    }),
    asyncOutcomes: new Counter({
      name: 'forkyard_gateway_async_outcomes_total',
      help: 'Attempts of asynchronous events: done, retried, postponed (platform), dead',
      labelNames: ['outcome'] as const,
      registers,
    }),
  }
}

export type GatewayMetrics = ReturnType<typeof createGatewayMetrics>
