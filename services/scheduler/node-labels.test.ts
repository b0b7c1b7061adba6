import { expect, it } from 'vitest'
import type { NodeReport } from '../contracts/node.ts'
import { Fleet } from './fleet.ts'

const report = (seq: number, over: Partial<NodeReport> = {}): NodeReport => ({
  nodeId: 'a',
  epoch: 'e',
  seq,
  full: true,
  url: 'http://a.test',
  accepting: true,
  capacity: { memoryMiB: 1024, instances: 8, cpus: 2 },
  instances: [],
  endedInvocations: [],
  ...over,
})

it('a node’s pool and labels are those of its last full report; one that says nothing is in the pool default', () => {
  const fleet = new Fleet()
  const known = () => [...fleet.nodes()].map(({ nodePool, labels }) => ({ nodePool, labels }))
  fleet.apply(report(1), 0)
  expect(known()).toEqual([{ nodePool: 'default', labels: {} }])
  fleet.apply(report(2, { pool: 'gpu', labels: { zone: 'north' } }), 0)
  expect(known()).toEqual([{ nodePool: 'gpu', labels: { zone: 'north' } }])
  fleet.apply(report(3, { full: false }), 0)
  expect(known()).toEqual([{ nodePool: 'gpu', labels: { zone: 'north' } }])
})
