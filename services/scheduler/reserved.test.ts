import * as fc from 'fast-check'
import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import { createMetrics } from '../chassis/http-server.ts'
import type { InstanceReport, NodeReport } from '../contracts/node.ts'
import type { PlacementRequest } from '../contracts/placement.ts'
import { Dispatcher } from './dispatcher.ts'
import { explain } from './explain.ts'
import { Fleet } from './fleet.ts'
import { createSchedulerMetrics } from './metrics.ts'

const policy = { concurrency: 2, reuse: true, keepAliveMs: 60_000 }
const revisionOf = (name: string, version: string) => ({ tenant: 't', name, version, revisionId: `r${version}` })

let now: number
let fleet: Fleet
let dispatcher: Dispatcher
const seqs = new Map<string, number>()

const asked = (id: string, reservedConcurrency?: number, name = 'f', version = '1'): PlacementRequest => ({
  invocationId: id,
  revision: revisionOf(name, version),
  runtime: 'nodejs24.x',
  memoryMiB: 1,
  policy,
  ...(reservedConcurrency === undefined ? {} : { reservedConcurrency }),
  startWish: 'auto',
  deadlineAt: now + 1_000,
  excludeNodes: [],
})

const report = (nodeId: string, over: Partial<NodeReport> = {}) => {
  const seq = (seqs.get(nodeId) ?? 0) + 1
  seqs.set(nodeId, seq)
  dispatcher.report({
    nodeId,
    epoch: 'e',
    seq,
    full: true,
    url: `http://${nodeId}`,
    accepting: true,
    capacity: { memoryMiB: 10_000, instances: 10_000, cpus: 2 },
    instances: [],
    endedInvocations: [],
    ...over,
  })
}

const busy = (instanceId: string, inFlight: number): InstanceReport => ({
  instanceId,
  revision: revisionOf('f', '1'),
  memoryMiB: 1,
  policy,
  state: inFlight > 0 ? 'busy' : 'idle',
  inFlight,
})

beforeEach(() => {
  now = 1_000_000
  seqs.clear()
  fleet = new Fleet()
  const nodes = {
    start: async () => undefined,
    end: async () => undefined,
    cordon: async () => undefined,
    forget: () => undefined,
    close: async () => undefined,
  }
  const metrics = createSchedulerMetrics(createMetrics(), fleet)
  const logger = pino({ level: 'silent' })
  dispatcher = new Dispatcher({ fleet, nodes, metrics, logger, firstNodeWaitMs: 5_000, now: () => now })
})

const throttled = expect.objectContaining({
  code: 'TOO_MANY_REQUESTS',
  details: expect.objectContaining({ limit: 'reservedConcurrency' }) as object,
}) as Error

/** @returns whether it was placed; only its own limit may keep it from that */
const tryToPlace = (request: PlacementRequest): boolean => {
  try {
    void dispatcher.place(request)
    return true
  } catch (error) {
    expect(error).toEqual(throttled)
    return false
  }
}

describe('reserved concurrency', () => {
  it('counts all versions of the function together, and no other function', () => {
    report('a')
    expect(tryToPlace(asked('i1', 2, 'f', '1'))).toBe(true)
    expect(tryToPlace(asked('i2', 2, 'f', '2'))).toBe(true)
    expect(tryToPlace(asked('i3', 2, 'f', '3'))).toBe(false)
    expect(tryToPlace(asked('i4', 2, 'g', '1'))).toBe(true)
    dispatcher.over(['i1'])
    expect(tryToPlace(asked('i3', 2, 'f', '3'))).toBe(true)
  })

  it('of 0 throttles all, also while there is no node to wait for', () => {
    expect(tryToPlace(asked('i1', 0))).toBe(false)
    report('a')
    expect(tryToPlace(asked('i1', 0))).toBe(false)
    expect(tryToPlace(asked('i1'))).toBe(true)
  })

  it('does not count an invocation twice that asks for another place', () => {
    report('a')
    for (let n = 0; n < 3; n++) expect(tryToPlace(asked('i1', 1))).toBe(true)
    expect(tryToPlace(asked('i2', 1))).toBe(false)
  })

  it('is what explain tells', () => {
    report('a')
    expect(tryToPlace(asked('i1', 1))).toBe(true)
    expect(explain(fleet.view, asked('i2', 1), now)).toMatchObject({
      decision: 'none',
      reason: expect.stringContaining('1 are reserved') as string,
    })
  })

  it('counts what another scheduler has lent, until it ends', () => {
    report('a', { instances: [busy('x', 1)] })
    expect(tryToPlace(asked('i1', 1))).toBe(false)
    expect(tryToPlace(asked('i1', 2))).toBe(true)
    report('a', { instances: [busy('x', 1)], endedInvocations: ['i1'] })
    expect(tryToPlace(asked('i2', 1))).toBe(false)
    report('a', { instances: [busy('x', 0)] })
    expect(tryToPlace(asked('i2', 1))).toBe(true)
  })

  it('counts what was in flight when this one began to lead', () => {
    report('a')
    report('a', { instances: [busy('x', 1)] })
    expect(fleet.view.lentOf(revisionOf('f', '1'))).toBe(0)
    fleet.inherit()
    expect(tryToPlace(asked('i1', 1))).toBe(false)
    report('a', { instances: [busy('x', 0)] })
    expect(tryToPlace(asked('i1', 1))).toBe(true)
  })

  it('lets a caller on whose last request is over before its node has reported that', () => {
    report('a', { instances: [busy('x', 0)] })
    expect(tryToPlace(asked('i1', 1))).toBe(true)
    dispatcher.over(['i1'])
    report('a', { instances: [busy('x', 1)] })
    expect(tryToPlace(asked('i2', 1))).toBe(true)
  })
})

interface Step {
  readonly kind: 'place' | 'over' | 'lose-node' | 'wait' | 'resign'
  readonly name: 'f' | 'g' | 'free'
  readonly version: '1' | '2' | '$LATEST'
  readonly which: number
}

const step = fc.record<Step>({
  kind: fc.oneof(
    { weight: 12, arbitrary: fc.constant('place' as const) },
    { weight: 6, arbitrary: fc.constant('over' as const) },
    { weight: 1, arbitrary: fc.constantFrom('lose-node' as const, 'wait' as const, 'resign' as const) },
  ),
  name: fc.constantFrom('f', 'g', 'free'),
  version: fc.constantFrom('1', '2', '$LATEST'),
  which: fc.nat(30),
})

/** What holds a slot, counted from the leases themselves. */
const countLent = (name: string): number =>
  [...fleet.nodes()]
    .flatMap((node) => [...node.pools.values()])
    .filter(({ revision }) => revision.name === name)
    .reduce((sum, { leases }) => sum + leases.length, 0)

describe('for any sequence of placements, ends and losses', () => {
  it('never more of a function is lent than is reserved, nothing is throttled below that, and nothing is ever miscounted', () => {
    fc.assert(
      fc.property(fc.nat(4), fc.nat(4), fc.array(step, { maxLength: 80 }), (f, g, steps) => {
        const reserved = { f, g, free: undefined }
        for (const nodeId of ['a', 'b']) fleet.removeNode(nodeId)
        for (const nodeId of ['a', 'b']) report(nodeId)
        for (const [n, { kind, name, version, which }] of steps.entries()) {
          if (kind === 'place') {
            const room = countLent(name) < (reserved[name] ?? Infinity)
            expect(tryToPlace(asked(`i${n}`, reserved[name], name, version))).toBe(room)
          } else if (kind === 'over') dispatcher.over([`i${which}`])
          else if (kind === 'resign') dispatcher.resign()
          else if (kind === 'wait') {
            now += 4_000
            dispatcher.tick(60_000)
          } else {
            fleet.removeNode('a')
            report('a')
          }
          for (const each of ['f', 'g', 'free'] as const) {
            expect(countLent(each)).toBeLessThanOrEqual(reserved[each] ?? Infinity)
            expect(fleet.view.lentOf(revisionOf(each, '1'))).toBe(countLent(each))
          }
        }
      }),
    )
  })
})
