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
      help: 'From the start command to the first pull, by start type',
      labelNames: ['start_type'] as const,
      buckets: [5, 10, 25, 50, 100, 150, 200, 300, 500, 1000, 2500, 5000, 10_000],
      registers,
    }),
    heldMiB: new Gauge({
      name: 'forkyard_node_cache_held_mebibytes',
      help: 'Memory that is held for starts to come, by level: idle, parkedFork, seed, parked, created',
      labelNames: ['level'] as const,
      registers,
    }),
    heldCount: new Gauge({
      name: 'forkyard_node_cache_held',
      help: 'What is held for starts to come, by level',
      labelNames: ['level'] as const,
      registers,
    }),
    decisions: new Counter({
      name: 'forkyard_node_cache_decisions_total',
      help: 'Decisions about what is held, by what asked for one: time, start, memory',
      labelNames: ['cause'] as const,
      registers,
    }),
    decisionMs: new Histogram({
      name: 'forkyard_node_cache_decision_milliseconds',
      help: 'What a decision takes',
      buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100],
      registers,
    }),
    evictions: new Counter({
      name: 'forkyard_node_cache_evictions_total',
      help: 'What was held and is not any more, unused, by level and reason: idle (not worth its memory), memory (a start needs it)',
      labelNames: ['level', 'reason'] as const,
      registers,
    }),
    restoreFailures: new Counter({
      name: 'forkyard_node_restore_failures_total',
      help: 'Restores that failed and fell back: from the version to the runtime, from the runtime to a boot',
      labelNames: ['runtime', 'checkpoint'] as const,
      registers,
    }),
    seeds: new Gauge({ name: 'forkyard_node_seeds', help: 'Seeds that can be forked', registers }),
    parkedForks: new Gauge({ name: 'forkyard_node_parked_forks', help: 'Forks that wait at their sockets', registers }),
    seedEnds: new Counter({
      name: 'forkyard_node_seed_ends_total',
      help: 'Seeds that ended, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    unfit: new Counter({
      name: 'forkyard_node_unfit_revisions_total',
      help: 'Revisions that cannot be forked, by what their initialisation left open',
      labelNames: ['reason'] as const,
      registers,
    }),
    restores: new Counter({
      name: 'forkyard_node_restores_total',
      help: 'Restores, by whose checkpoint it was: of the bare runtime or of the version',
      labelNames: ['checkpoint'] as const,
      registers,
    }),
    versionCheckpoints: new Gauge({
      name: 'forkyard_node_version_checkpoints',
      help: 'Checkpoints of versions that are checked and ready',
      registers,
    }),
    versionCheckpointBytes: new Gauge({
      name: 'forkyard_node_version_checkpoint_bytes',
      help: 'Disk that they take',
      registers,
    }),
    versionCheckpointEnds: new Counter({
      name: 'forkyard_node_version_checkpoint_events_total',
      help: 'Checkpoints of versions: made, failed, refused, damaged, or removed and why',
      labelNames: ['outcome'] as const,
      registers,
    }),
    forkFailures: new Counter({
      name: 'forkyard_node_fork_failures_total',
      help: 'Forks that failed and fell back to another start',
      registers,
    }),
  }
}

export type SchedulerMetrics = ReturnType<typeof createSchedulerMetrics>
