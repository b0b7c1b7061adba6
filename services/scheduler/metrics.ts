import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Fleet } from './fleet.ts'

/** @param term of this scheduler while it leads */
export const createSchedulerMetrics = (registry: Registry, fleet: Fleet, term: () => number | undefined = () => 0) => {
  const registers = [registry]
  const leads = new Gauge({
    name: 'forkyard_scheduler_leads',
    help: '1 while this scheduler leads',
    registers,
    collect() {
      this.set(term() === undefined ? 0 : 1)
    },
  })
  const nodes = new Gauge({
    name: 'forkyard_scheduler_nodes',
    help: 'Nodes that report',
    registers,
    collect() {
      this.set([...fleet.nodes()].length)
    },
  })
  const leases = new Gauge({
    name: 'forkyard_scheduler_leases',
    help: 'Invocations that hold a slot',
    registers,
    collect() {
      this.set(fleet.leaseCount)
    },
  })
  const instances = new Gauge({
    name: 'forkyard_scheduler_instances',
    help: 'Instances by state, bookings included',
    labelNames: ['state'] as const,
    registers,
    collect() {
      const counts = { starting: 0, idle: 0, busy: 0 }
      for (const node of fleet.nodes()) for (const { state } of node.instances.values()) counts[state]++
      for (const state of ['starting', 'idle', 'busy'] as const) this.set({ state }, counts[state])
    },
  })
  return {
    leads,
    nodes,
    leases,
    instances,
    placements: new Counter({
      name: 'forkyard_scheduler_placements_total',
      help: 'Placements by decision: idle, shared, start, none, throttled',
      labelNames: ['decision'] as const,
      registers,
    }),
    placementSeconds: new Histogram({
      name: 'forkyard_scheduler_placement_seconds',
      help: 'From the request to the decision',
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
      registers,
    }),
    starts: new Counter({
      name: 'forkyard_scheduler_starts_total',
      help: 'Start commands by answer of the node: accepted, or the code of the error',
      labelNames: ['answer'] as const,
      registers,
    }),
    ends: new Counter({
      name: 'forkyard_scheduler_ends_total',
      help: 'Instances told to end, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    instancesEnded: new Counter({
      name: 'forkyard_scheduler_instances_ended_total',
      help: 'Instances that nodes reported as ended, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    lostReports: new Counter({
      name: 'forkyard_scheduler_lost_reports_total',
      help: 'Gaps in the reports of nodes; each asks for a full report',
      registers,
    }),
    refusedReports: new Counter({
      name: 'forkyard_scheduler_refused_reports_total',
      help: 'Reports that were not their node’s to make, and were dropped',
      registers,
    }),
    selfCordons: new Counter({
      name: 'forkyard_scheduler_self_cordons_total',
      help: 'Nodes that were cordoned because their starts failed; answer no: it was the last one of its pool',
      labelNames: ['answer'] as const,
      registers,
    }),
    lostNodes: new Counter({
      name: 'forkyard_scheduler_lost_nodes_total',
      help: 'Nodes that fell silent',
      registers,
    }),
  }
}

export type SchedulerMetrics = ReturnType<typeof createSchedulerMetrics>
