import { describe, expect, it } from 'vitest'
import { toldWithinMs, type NodeReport } from '../contracts/node.ts'
import type { PlacementRequest } from '../contracts/placement.ts'
import { explain } from './explain.ts'
import { Fleet } from './fleet.ts'

const now = 1_000_000
const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r' }
const policy = { concurrency: 1, reuse: true, keepAliveMs: 60_000 }
const request: PlacementRequest = {
  invocationId: 'i',
  revision,
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy,
  startWish: 'auto',
  deadlineAt: now + 1000,
  excludeNodes: [],
}

const fleetWith = (instances: NodeReport['instances']): Fleet => {
  const fleet = new Fleet()
  const capacity = { memoryMiB: 1024, instances: 8, cpus: 2 }
  fleet.apply(
    {
      nodeId: 'n',
      epoch: 'e',
      seq: 0,
      full: true,
      url: 'http://n',
      accepting: true,
      capacity,
      instances,
      endedInvocations: [],
    },
    now,
  )
  return fleet
}

describe('explain', () => {
  it('tells the idle instance that would be lent, and when it would end', () => {
    const idle = {
      instanceId: 'a',
      revision,
      memoryMiB: 128,
      policy,
      state: 'idle',
      inFlight: 0,
      idleSince: now - 20_000,
    } as const
    expect(explain(fleetWith([idle]).view, request, now)).toMatchObject({
      decision: 'idle',
      nodeId: 'n',
      held: [
        {
          nodeId: 'n',
          freeSlots: 1,
          leases: 0,
          instances: [{ instanceId: 'a', state: 'idle', endsInMs: 40_000 + toldWithinMs }],
        },
      ],
    })
  })

  it('tells where a new instance would start, and changes nothing', () => {
    const fleet = fleetWith([])
    const first = explain(fleet.view, request, now)
    expect(first).toMatchObject({ decision: 'start', nodeId: 'n', held: [] })
    expect(explain(fleet.view, request, now)).toEqual(first)
    expect([fleet.leaseCount, fleet.node('n')?.usedMemoryMiB]).toEqual([0, 0])
  })

  it('tells why nothing would be had', () => {
    expect(explain(fleetWith([]).view, { ...request, memoryMiB: 4096 }, now)).toEqual({
      decision: 'none',
      reason: expect.stringContaining('4096 MiB'),
      pool: 'default',
      candidates: [{ nodeId: 'n', score: 0, freeMiB: 1024, instances: 0, against: ['less than 4096 MiB are free'] }],
      held: [],
    })
  })
})
