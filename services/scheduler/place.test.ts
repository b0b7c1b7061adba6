import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { InstancePolicy } from '../contracts/function.ts'
import type { InstanceReport, NodeReport } from '../contracts/node.ts'
import type { PlacementRequest, RevisionRef } from '../contracts/placement.ts'
import { Fleet } from './fleet.ts'
import { place, type Decision } from './place.ts'
import { spokenFor } from './pool.ts'

const now = 1_000_000
const reusable: InstancePolicy = { concurrency: 1, reuse: true, keepAliveMs: 60_000 }

const request = (name: string, id: string, over: Partial<PlacementRequest> = {}): PlacementRequest => ({
  invocationId: id,
  revision: { tenant: 't', name, version: '1', revisionId: 'r1' },
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy: reusable,
  startWish: 'auto',
  deadlineAt: now + 30_000,
  excludeNodes: [],
  ...over,
})

const report = (nodeId: string, memoryMiB: number, instances: InstanceReport[] = []): NodeReport => ({
  nodeId,
  epoch: 'e1',
  seq: 1,
  full: true,
  url: `http://${nodeId}.test`,
  accepting: true,
  capacity: { memoryMiB, instances: 8, cpus: 2 },
  instances,
  endedInvocations: [],
})

const instance = (name: string, id: string, over: Partial<InstanceReport> = {}): InstanceReport => ({
  instanceId: id,
  revision: { tenant: 't', name, version: '1', revisionId: 'r1' },
  memoryMiB: 128,
  policy: reusable,
  state: 'idle',
  inFlight: 0,
  idleSince: now - 100,
  ...over,
})

const fleetOf = (...reports: NodeReport[]): Fleet => {
  const fleet = new Fleet()
  for (const each of reports) fleet.apply(each, now)
  return fleet
}

let bookings = 0
/** Takes the decision's effects in, as the dispatcher does. */
const commit = (fleet: Fleet, asked: PlacementRequest, decision: Decision): void => {
  if (decision.kind === 'none' || decision.kind === 'throttled' || decision.kind === 'wait') return
  if (decision.kind !== 'start') return fleet.lend(decision.pool, asked, now)
  for (const ending of decision.end) fleet.drop(ending)
  fleet.lend(fleet.book(decision.node, { ...asked, instanceId: `booked-${bookings++}` }), asked, now)
}

const summary = (decision: Decision) => ({
  kind: decision.kind,
  reason: decision.reason,
  node: decision.kind === 'start' ? decision.node.id : 'pool' in decision ? decision.pool.node.id : undefined,
  end: decision.kind === 'start' ? decision.end.map(({ id }) => id) : [],
})

describe('place', () => {
  it('lends the idle instance that was used last, whatever its node is called', () => {
    const fleet = fleetOf(
      report('a', 1024, [instance('f', 'old', { idleSince: now - 500 })]),
      report('b', 1024, [instance('f', 'young', { idleSince: now - 10 })]),
    )
    expect(summary(place(fleet.view, request('f', 'i1'), now))).toMatchObject({ kind: 'idle', node: 'b' })
  })

  it('shares the slots of a starting instance before it starts another', () => {
    const fleet = fleetOf(report('a', 1024))
    const policy = { ...reusable, concurrency: 3 }
    const kinds = ['i1', 'i2', 'i3', 'i4'].map((id) => {
      const asked = request('f', id, { policy })
      const decision = place(fleet.view, asked, now)
      commit(fleet, asked, decision)
      return decision.kind
    })
    expect(kinds).toEqual(['start', 'shared', 'shared', 'start'])
  })

  it('never lends an idle instance of a single-use revision', () => {
    const policy = { ...reusable, reuse: false }
    const fleet = fleetOf(report('a', 1024, [instance('f', 'used', { policy })]))
    expect(place(fleet.view, request('f', 'i1', { policy }), now).kind).toBe('start')
  })

  it('never lends an instance of another revision', () => {
    const fleet = fleetOf(report('a', 1024, [instance('f', 'i')]))
    const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r2' }
    expect(place(fleet.view, request('f', 'i1', { revision }), now).kind).toBe('start')
  })

  it('starts a new instance for a forced start, and leaves the others alone', () => {
    const fleet = fleetOf(
      report('a', 1024, [instance('f', 'idle'), instance('f', 'busy', { state: 'busy', inFlight: 1 })]),
    )
    const decision = summary(place(fleet.view, request('f', 'i1', { startWish: 'restore' }), now))
    expect(decision).toMatchObject({ kind: 'start', end: [] })
  })

  it('starts on the least loaded node, ties by id', () => {
    const fleet = fleetOf(report('c', 1024), report('b', 1024), report('a', 1024, [instance('g', 'x')]))
    expect(summary(place(fleet.view, request('f', 'i1'), now)).node).toBe('b')
  })

  it('prefers a node that need not give up what it holds for later, but takes one that can', () => {
    const cache = { heldMiB: 900, pinnedMiB: 0 }
    const [held, busy] = [{ ...report('a', 1024), cache }, report('b', 1024, [instance('g', 'x', { memoryMiB: 512 })])]
    expect(summary(place(fleetOf(held, busy).view, request('f', 'i1'), now)).node).toBe('b')
    expect(summary(place(fleetOf(held).view, request('f', 'i1', { memoryMiB: 1024 }), now))).toMatchObject({
      kind: 'start',
      end: [],
    })
  })

  it('counts on no memory that a node cannot give back', () => {
    const fleet = fleetOf({ ...report('a', 1024), cache: { heldMiB: 100, pinnedMiB: 100 } })
    expect(place(fleet.view, request('f', 'i1', { memoryMiB: 1024 }), now).kind).toBe('none')
    expect(place(fleet.view, request('f', 'i1', { memoryMiB: 924 }), now).kind).toBe('start')
  })

  it('ends the longest idle instance of another function when nothing else makes room', () => {
    const fleet = fleetOf(
      report('a', 256, [
        instance('g', 'younger', { idleSince: now - 10 }),
        instance('h', 'older', { idleSince: now - 1000 }),
      ]),
    )
    expect(summary(place(fleet.view, request('f', 'i1'), now))).toMatchObject({ kind: 'start', end: ['older'] })
  })

  it('does not make room with an idle instance that is lent', () => {
    const fleet = fleetOf(report('a', 128, [instance('g', 'x')]))
    const lent = request('g', 'i0')
    commit(fleet, lent, place(fleet.view, lent, now))
    expect(place(fleet.view, request('f', 'i1'), now).kind).toBe('none')
  })

  it('prefers nodes that did not refuse, and starts on one that did as a last resort', () => {
    const fleet = fleetOf(report('a', 1024, [instance('f', 'x')]), report('b', 1024))
    expect(summary(place(fleet.view, request('f', 'i1', { excludeNodes: ['a'] }), now)).node).toBe('b')
    const only = fleetOf(report('a', 1024, [instance('f', 'x')]))
    expect(summary(place(only.view, request('f', 'i1', { excludeNodes: ['a'] }), now))).toMatchObject({
      kind: 'start',
      node: 'a',
    })
  })

  it('places nothing on a cordoned node', () => {
    const cordon = { by: 'operator', reason: 'a new disk', since: 1 } as const
    const fleet = fleetOf({ ...report('a', 1024, [instance('f', 'x')]), cordon })
    expect(place(fleet.view, request('f', 'i1'), now).kind).toBe('none')
  })

  it('starts at most one instance for each of 50 requests that come at once', () => {
    const fleet = fleetOf({ ...report('a', 64 * 128), capacity: { memoryMiB: 64 * 128, instances: 64, cpus: 2 } })
    for (let i = 0; i < 50; i++) {
      const asked = request('f', `i${i}`)
      commit(fleet, asked, place(fleet.view, asked, now))
    }
    expect(fleet.node('a')?.instances.size).toBe(50)
  })
})

interface Step {
  readonly name: string
  readonly concurrency: number
  readonly reuse: boolean
  readonly memoryMiB: number
  readonly forced: boolean
  readonly release: boolean
}

const step = fc.record<Step>({
  name: fc.constantFrom('f', 'g', 'h'),
  concurrency: fc.integer({ min: 1, max: 4 }),
  reuse: fc.boolean(),
  memoryMiB: fc.constantFrom(128, 256, 512),
  forced: fc.boolean(),
  release: fc.boolean(),
})

const nodes = fc.array(
  fc.tuple(fc.integer({ min: 128, max: 2048 }), fc.array(fc.constantFrom('f', 'g'), { maxLength: 3 })),
  {
    minLength: 1,
    maxLength: 4,
  },
)

const build = (shape: [number, string[]][], reversed = false): Fleet => {
  const reports = shape.map(([memoryMiB, names], n) => {
    const instances = names.map((name, i) => instance(name, `n${n}-${i}`, { idleSince: now - i * 10 }))
    return report(`n${n}`, memoryMiB + names.length * 128, instances)
  })
  return fleetOf(...(reversed ? reports.toReversed() : reports))
}

const run = (
  fleet: Fleet,
  steps: readonly Step[],
  check: (decision: Decision, revision: RevisionRef) => void,
): void => {
  for (const [i, { name, concurrency, reuse, memoryMiB, forced, release }] of steps.entries()) {
    // The configuration belongs to the revision, as in the registry.
    const revision = { tenant: 't', name, version: '1', revisionId: `${concurrency}-${reuse}-${memoryMiB}` }
    const policy = { concurrency, reuse, keepAliveMs: 1000 }
    const asked = request(name, `i${i}`, { revision, policy, memoryMiB, startWish: forced ? 'boot' : 'auto' })
    const decision = place(fleet.view, asked, now)
    check(decision, revision)
    commit(fleet, asked, decision)
    if (release) fleet.release(`i${i - 1}`)
  }
}

describe('place, for any fleet and any sequence of requests', () => {
  it('never books more memory or instances than a node has', () => {
    fc.assert(
      fc.property(nodes, fc.array(step, { maxLength: 40 }), (shape, steps) => {
        const fleet = build(shape)
        run(fleet, steps, () => undefined)
        for (const node of fleet.nodes()) {
          const booked = [...node.instances.values()].reduce((sum, { memoryMiB }) => sum + memoryMiB, 0)
          expect(node.usedMemoryMiB).toBe(booked)
          expect(booked).toBeLessThanOrEqual(node.capacity.memoryMiB)
          expect(node.instances.size).toBeLessThanOrEqual(node.capacity.instances)
        }
      }),
    )
  })

  it('never lends more slots than the instances of a revision have', () => {
    fc.assert(
      fc.property(nodes, fc.array(step, { maxLength: 40 }), (shape, steps) => {
        const fleet = build(shape)
        const unforced = steps.map((each) => ({ ...each, forced: false }))
        run(fleet, unforced, (decision) => {
          if (decision.kind !== 'idle' && decision.kind !== 'shared') return
          expect(spokenFor(decision.pool)).toBeLessThan(decision.pool.slots)
        })
        for (const node of fleet.nodes())
          for (const pool of node.pools.values()) expect(spokenFor(pool)).toBeLessThanOrEqual(pool.slots)
      }),
    )
  })

  it('decides the same way for the same fleet, and whatever order the nodes reported in', () => {
    fc.assert(
      fc.property(nodes, fc.array(step, { maxLength: 20 }), (shape, steps) => {
        const decide = (fleet: Fleet) => {
          const decisions: ReturnType<typeof summary>[] = []
          bookings = 0
          run(fleet, steps, (decision) => decisions.push(summary(decision)))
          return decisions
        }
        const forwards = build(shape)
        const reversed = build(shape, true)
        expect(decide(reversed)).toEqual(decide(forwards))
      }),
    )
  })

  it('starts nothing while a slot of a reusable revision is free', () => {
    fc.assert(
      fc.property(nodes, fc.array(step, { maxLength: 40 }), (shape, steps) => {
        const fleet = build(shape)
        const plain = steps.map((each) => ({ ...each, forced: false, reuse: true }))
        run(fleet, plain, (decision, revision) => {
          if (decision.kind !== 'start') return
          for (const pool of fleet.poolsOf(revision)) expect(spokenFor(pool)).toBeGreaterThanOrEqual(pool.slots)
        })
      }),
    )
  })
})
