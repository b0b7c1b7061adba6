/** What operators see of the installation. */
import { Type, type Static } from 'typebox'
import type { GatewayDeps } from '../deps.ts'
import { quantile, type Bucket } from '../latency.ts'
import type { GatewayMetrics } from '../metrics.ts'
import { operation, type AnyOperation } from './operation.ts'

const Node = Type.Object({
  nodeId: Type.String(),
  accepting: Type.Boolean(),
  capacity: Type.Object({ memoryMiB: Type.Integer(), instances: Type.Integer(), cpus: Type.Integer() }),
})

/** Invocations that this gateway answered since it started. */
const Starts = Type.Object({
  startType: Type.String(),
  count: Type.Integer(),
  p50Ms: Type.Number(),
  p90Ms: Type.Number(),
  p99Ms: Type.Number(),
})
type Starts = Static<typeof Starts>

const bucketsByStartType = async ({ invocationSeconds }: GatewayMetrics): Promise<Map<string, Bucket[]>> => {
  const found = new Map<string, Bucket[]>()
  for (const { metricName, labels, value } of (await invocationSeconds.get()).values) {
    if (!metricName?.endsWith('_bucket')) continue
    // The bound is a label that prom-client adds to buckets.
    const { start_type: startType = 'unknown', le }: { start_type?: string | number; le?: string | number } = labels
    const upTo = le === '+Inf' ? Infinity : Number(le)
    found.set(String(startType), [...(found.get(String(startType)) ?? []), { upTo, count: value }])
  }
  return found
}

const startsOf = async (metrics: GatewayMetrics): Promise<Starts[]> =>
  [...(await bucketsByStartType(metrics))].map(([startType, buckets]) => {
    const ms = (share: number): number => Math.round((quantile(buckets, share) ?? 0) * 100_000) / 100
    return { startType, count: buckets.at(-1)?.count ?? 0, p50Ms: ms(0.5), p90Ms: ms(0.9), p99Ms: ms(0.99) }
  })

export const statusOperations = ({ scheduler, metrics }: GatewayDeps): AnyOperation[] => [
  operation({
    id: 'GetStatus',
    summary:
      'The nodes and their instances, as the scheduler sees them; answers so far and their latency by start type',
    method: 'GET',
    url: '/forkyard/v1/status',
    status: 200,
    reply: Type.Object({ nodes: Type.Array(Node), starts: Type.Array(Starts) }),
    handle: async () => ({ nodes: await scheduler.nodes(), starts: await startsOf(metrics) }),
  }),
]
