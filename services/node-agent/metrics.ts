import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export const createSchedulerMetrics = (registry: Registry) => {
  const registers = [registry]
  return {
    instances: new Gauge({
      name: 'forkyard_node_instances',
      help: 'Instances, starting and ending ones included',
      registers,
    }),
    ends: new Counter({
      name: 'forkyard_node_instance_ends_total',
      help: 'Instances that ended, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    startMs: new Histogram({
      name: 'forkyard_node_start_milliseconds',
      help: 'From the start command to the first pull',
      buckets: [5, 10, 25, 50, 100, 150, 200, 300, 500, 1000, 2500, 5000, 10_000],
      registers,
    }),
    restoreFailures: new Counter({
      name: 'forkyard_node_restore_failures_total',
      help: 'Restores that failed and fell back to a boot',
      labelNames: ['runtime'] as const,
      registers,
    }),
  }
}

export type SchedulerMetrics = ReturnType<typeof createSchedulerMetrics>
