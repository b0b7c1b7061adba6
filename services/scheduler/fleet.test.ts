import { describe, expect, it } from 'vitest'
import type { InstanceReport, NodeReport } from '../contracts/node.ts'
import type { PlacementRequest } from '../contracts/placement.ts'
import { Fleet } from './fleet.ts'
import { freeIdleSlots, freeSlots, type Pool } from './pool.ts'

const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r1' }
const policy = { concurrency: 1, reuse: true, keepAliveMs: 1000 }

const report = (seq: number, over: Partial<NodeReport> = {}): NodeReport => ({
  nodeId: 'a',
  epoch: 'e1',
  seq,
  full: false,
  url: 'http://a.test',
  accepting: true,
  capacity: { memoryMiB: 1024, instances: 8, cpus: 2 },
  instances: [],
  endedInvocations: [],
  ...over,
})

const instance = (instanceId: string, state: InstanceReport['state'], inFlight = 0): InstanceReport => ({
  instanceId,
  revision,
  memoryMiB: 128,
  policy,
  state,
  inFlight,
})

const asked = (invocationId: string, deadlineAt = 10_000): PlacementRequest => ({
  invocationId,
  revision,
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy,
  startWish: 'auto',
  deadlineAt,
  excludeNodes: [],
})

const poolOf = (fleet: Fleet): Pool => {
  const [pool] = fleet.poolsOf(revision)
  if (!pool) throw new Error('no pool')
  return pool
}

const nodeOf = (fleet: Fleet) => {
  const node = fleet.node('a')
  if (!node) throw new Error('no node')
  return node
}

describe('reports', () => {
  it('are not enough before the first full one', () => {
    const fleet = new Fleet()
    expect(fleet.apply(report(7), 0)).toBe(false)
    expect(fleet.node('a')).toBeUndefined()
    expect(fleet.apply(report(8, { full: true }), 0)).toBe(true)
    expect(fleet.hasOpenNode()).toBe(true)
  })

  it('after a gap change nothing until a full one came, then count again', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'idle')] }), 0)
    expect(fleet.apply(report(3, { instances: [instance('y', 'idle')] }), 0)).toBe(false)
    expect(fleet.apply(report(4, { instances: [instance('z', 'idle')] }), 0)).toBe(false)
    expect([...nodeOf(fleet).instances.keys()]).toEqual(['x'])
    expect(fleet.apply(report(5, { full: true, instances: [instance('y', 'idle')] }), 0)).toBe(true)
    expect([...nodeOf(fleet).instances.keys()]).toEqual(['y'])
    expect(fleet.apply(report(6, { instances: [instance('y', 'ended')] }), 0)).toBe(true)
    expect(nodeOf(fleet).usedMemoryMiB).toBe(0)
  })

  it('free leases also when they came after a gap', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'idle')] }), 0)
    fleet.lend(poolOf(fleet), asked('i1'), 0)
    fleet.apply(report(9, { endedInvocations: ['i1'] }), 0)
    expect(fleet.leaseCount).toBe(0)
  })

  it('that come late are ignored', () => {
    const fleet = new Fleet()
    fleet.apply(report(5, { full: true, instances: [instance('x', 'idle')] }), 0)
    fleet.apply(report(4, { full: true }), 0)
    expect(nodeOf(fleet).instances.size).toBe(1)
  })

  it('of a new run of the agent replace everything of the last one', () => {
    const fleet = new Fleet()
    fleet.apply(report(50, { full: true, instances: [instance('x', 'busy', 1)] }), 0)
    fleet.lend(poolOf(fleet), asked('i1'), 0)
    fleet.book(nodeOf(fleet), { ...asked('i2'), instanceId: 'booked' })
    fleet.apply(report(0, { epoch: 'e2', full: true }), 0)
    expect(nodeOf(fleet).instances.size).toBe(0)
    expect(fleet.leaseCount).toBe(0)
  })

  it('that crossed a start on the way do not cancel its booking; later ones do', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true }), 0)
    fleet.book(nodeOf(fleet), { ...asked('i1'), instanceId: 'booked' })
    fleet.accepted('a', 'booked', 100)
    fleet.apply(report(2, { full: true }), 200)
    expect(nodeOf(fleet).usedMemoryMiB).toBe(128)
    fleet.apply(report(3, { full: true }), 1_200)
    expect(nodeOf(fleet).usedMemoryMiB).toBe(0)
  })

  it('tell of invocations that this process never lent, so that their slots are not lent twice', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'busy', 1)] }), 0)
    expect(poolOf(fleet).foreign).toBe(1)
    fleet.apply(report(2, { instances: [instance('x', 'idle')] }), 0)
    expect(poolOf(fleet).foreign).toBe(0)
  })

  it('end a lease whose end was lost once an instance is idle and the request must have arrived', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'idle')] }), 0)
    fleet.lend(poolOf(fleet), asked('i1'), 0)
    fleet.apply(report(2, { full: true, instances: [instance('x', 'idle')] }), 1_000)
    expect(fleet.leaseCount).toBe(1)
    fleet.apply(report(3, { full: true, instances: [instance('x', 'idle')] }), 3_000)
    expect(fleet.leaseCount).toBe(0)
  })
})

describe('a lease that its gateway ended', () => {
  it('counts as in flight for nobody, though its node did not tell of the end yet', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'idle')] }), 0)
    fleet.lend(poolOf(fleet), asked('i1'), 0)
    fleet.over('i1', 10)
    expect([fleet.leaseCount, freeIdleSlots(poolOf(fleet))]).toEqual([0, 1])
    fleet.apply(report(2, { instances: [instance('x', 'busy', 1)] }), 20)
    expect([poolOf(fleet).foreign, freeIdleSlots(poolOf(fleet))]).toEqual([0, 1])
    fleet.apply(report(3, { instances: [instance('x', 'idle')], endedInvocations: ['i1'] }), 30)
    expect([poolOf(fleet).over, freeIdleSlots(poolOf(fleet))]).toEqual([0, 1])
  })

  it('hides no other invocation of the same instances', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'idle'), instance('y', 'idle')] }), 0)
    fleet.lend(poolOf(fleet), asked('i1'), 0)
    fleet.over('i1', 10)
    fleet.over('i1', 11)
    fleet.apply(report(2, { instances: [instance('x', 'busy', 1), instance('y', 'busy', 1)] }), 20)
    expect([poolOf(fleet).foreign, freeSlots(poolOf(fleet))]).toEqual([1, 1])
    fleet.lend(poolOf(fleet), asked('i2'), 20)
    expect([freeIdleSlots(poolOf(fleet)), freeSlots(poolOf(fleet))]).toEqual([0, 0])
  })

  it('has used the single-use instance that was starting for it', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true }), 0)
    const single = { ...asked('i1'), policy: { concurrency: 1, reuse: false }, instanceId: 'booked' }
    fleet.lend(fleet.book(nodeOf(fleet), single), single, 0)
    fleet.over('i1', 10)
    expect(freeSlots(poolOf(fleet))).toBe(0)
  })

  it('is forgotten after a while when its request never came to the node', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'busy', 1)] }), 0)
    fleet.lend(poolOf(fleet), asked('i1'), 0)
    fleet.over('i1', 0)
    fleet.expire(4_999, 60_000)
    expect(poolOf(fleet).over).toBe(1)
    fleet.expire(5_000, 60_000)
    expect(poolOf(fleet).over).toBe(0)
  })

  it('does not come back when the same invocation is placed once more', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'idle')] }), 0)
    fleet.lend(poolOf(fleet), asked('i1'), 0)
    fleet.over('i1', 0)
    fleet.lend(poolOf(fleet), asked('i1'), 1)
    expect([fleet.leaseCount, poolOf(fleet).over, freeSlots(poolOf(fleet))]).toEqual([1, 0, 0])
    fleet.expire(60_000, 90_000)
    expect(fleet.leaseCount).toBe(0)
  })
})

describe('time', () => {
  it('ends a lease after its deadline, not before', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'busy', 1)] }), 0)
    fleet.lend(poolOf(fleet), asked('i1', 5_000), 0)
    fleet.expire(5_000, 60_000)
    expect(fleet.leaseCount).toBe(1)
    fleet.expire(8_000, 60_000)
    expect(fleet.leaseCount).toBe(0)
  })

  it('removes a silent node with its instances and leases, unless the silence was ours', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [instance('x', 'idle')] }), 0)
    fleet.lend(poolOf(fleet), asked('i1', 100_000), 0)
    fleet.excuse(4_000)
    expect(fleet.expire(6_000, 5_000)).toEqual([])
    expect(fleet.expire(9_001, 5_000).map(({ id }) => id)).toEqual(['a'])
    expect([...fleet.poolsOf(revision)]).toEqual([])
    expect(fleet.leaseCount).toBe(0)
  })

  it('never puts an instance of a node with a fast clock into the future', () => {
    const fleet = new Fleet()
    fleet.apply(report(1, { full: true, instances: [{ ...instance('x', 'idle'), idleSince: 99_999 }] }), 1_000)
    expect(poolOf(fleet).lastIdleSince).toBe(1_000)
  })
})
