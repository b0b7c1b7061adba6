/** Whatever comes in whatever order: nothing is given twice, no limit is exceeded, and the same history gives the same answers. */
import * as fc from 'fast-check'
import { beforeEach, expect, it, vi } from 'vitest'
import type { ResourcePool } from '../../contracts/resource-pool.ts'
import { Yard, type NodeShape, type Outcome } from '../testing/yard.ts'

let ids = 0
vi.mock('node:crypto', async (original) => ({
  ...(await original<typeof import('node:crypto')>()),
  // Ties are decided by ids.
  randomUUID: () => `id-${String(ids++).padStart(6, '0')}`,
}))
beforeEach(() => {
  ids = 0
})

const limits = { tenant: { instances: 3, memoryMiB: 640 }, function: { instances: 2 } } as const
const rules: ResourcePool[] = [
  { name: 'own', tenants: ['a'], onlyChosen: true },
  {
    name: 'default',
    weights: { b: 2 },
    tenantLimit: limits.tenant,
    functionLimit: limits.function,
    reserved: { c: { instances: 1, memoryMiB: 256 } },
  },
]
const nodes: Record<string, NodeShape> = {
  n1: { memoryMiB: 768, instances: 4 },
  n2: { memoryMiB: 512, instances: 8 },
  n3: { pool: 'own', memoryMiB: 512 },
}

interface Step {
  readonly kind: 'ask' | 'over' | 'claim' | 'tick' | 'settle' | 'lose'
  readonly tenant: string
  readonly name: string
  readonly memoryMiB: number
  readonly chosen: boolean
  readonly which: number
}

const step = fc.record<Step>({
  kind: fc.oneof(
    { weight: 12, arbitrary: fc.constant('ask' as const) },
    { weight: 8, arbitrary: fc.constant('over' as const) },
    { weight: 4, arbitrary: fc.constantFrom('tick' as const, 'settle' as const) },
    { weight: 2, arbitrary: fc.constant('claim' as const) },
    { weight: 1, arbitrary: fc.constant('lose' as const) },
  ),
  tenant: fc.constantFrom('a', 'b', 'c'),
  name: fc.constantFrom('f', 'g'),
  memoryMiB: fc.constantFrom(128, 256, 512),
  chosen: fc.boolean(),
  which: fc.nat(40),
})

class History {
  readonly yard: Yard
  readonly outcomes: Outcome[] = []
  readonly #reserved = new Map<string, number>()

  constructor(order: readonly string[]) {
    this.yard = new Yard({}, rules)
    for (const nodeId of order) this.yard.join(nodeId, nodes[nodeId])
  }

  take({ kind, tenant, name, memoryMiB, chosen, which }: Step): void {
    const { yard } = this
    const key = `${tenant}/${name}`
    if (kind === 'ask') {
      const reservedConcurrency = this.#reserved.get(key)
      const pool = chosen && tenant === 'a' ? { policy: { pool: 'own' } } : {}
      const reserved = reservedConcurrency === undefined ? {} : { reservedConcurrency }
      this.outcomes.push(yard.ask({ tenant, name, memoryMiB, version: String(memoryMiB), ...pool, ...reserved }))
    } else if (kind === 'over') {
      const outcome = this.outcomes[which]
      if (outcome) yard.over(outcome)
    } else if (kind === 'claim') {
      this.#reserved.set(key, which % 4)
      yard.claim({ tenant, name, memoryMiB, reservedConcurrency: which % 4 })
    } else if (kind === 'tick') yard.tick(which * 100)
    else if (kind === 'settle') yard.settle()
    else {
      yard.fleet.removeNode('n2')
      yard.join('n2', nodes['n2'])
    }
  }
}

const check = ({ yard }: History): void => {
  const { fleet } = yard
  const held = new Map<string, { instances: number; memoryMiB: number }>()
  const hold = (key: string, memoryMiB: number): void => {
    const before = held.get(key) ?? { instances: 0, memoryMiB: 0 }
    held.set(key, { instances: before.instances + 1, memoryMiB: before.memoryMiB + memoryMiB })
  }
  for (const node of fleet.nodes()) {
    const used = [...node.instances.values()].reduce((sum, { memoryMiB }) => sum + memoryMiB, 0)
    expect(node.usedMemoryMiB).toBe(used)
    expect(used + node.kept.memoryMiB).toBeLessThanOrEqual(node.capacity.memoryMiB)
    expect(node.instances.size + node.kept.places).toBeLessThanOrEqual(node.capacity.instances)
    expect(node.kept.places).toBeGreaterThanOrEqual(0)
    for (const { pool, memoryMiB } of node.instances.values()) {
      const { tenant, name } = pool.revision
      if (node.nodePool === 'own') expect(tenant).toBe('a')
      hold(`${node.nodePool}/${tenant}`, memoryMiB)
      hold(`${node.nodePool}/${tenant}/${name}`, memoryMiB)
    }
  }
  for (const tenant of ['a', 'b', 'c']) {
    const has = held.get(`default/${tenant}`) ?? { instances: 0, memoryMiB: 0 }
    expect(fleet.view.usage.ofTenant('default', tenant)).toEqual(has)
    expect(has.instances).toBeLessThanOrEqual(limits.tenant.instances)
    expect(has.memoryMiB).toBeLessThanOrEqual(limits.tenant.memoryMiB)
    for (const name of ['f', 'g']) {
      const own = held.get(`default/${tenant}/${name}`) ?? { instances: 0, memoryMiB: 0 }
      expect(fleet.view.usage.ofFunction('default', { tenant, name })).toEqual(own)
      expect(own.instances).toBeLessThanOrEqual(limits.function.instances)
    }
  }
}

it('nodes, reservations and limits hold, tenants stay among themselves, and every count is right', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const history = new History(Object.keys(nodes))
      for (const each of steps) {
        history.take(each)
        check(history)
      }
      history.yard.dispatcher.close()
    }),
    { numRuns: 200 },
  )
})

const run = async (steps: readonly Step[], order: readonly string[]) => {
  ids = 0
  const history = new History(order)
  for (const each of steps) {
    history.take(each)
    await history.yard.turn()
  }
  const answers = history.outcomes.map(({ placement, error }) => [
    placement?.decision,
    placement?.nodeId,
    placement?.reason,
    error?.message,
  ])
  const kept = [...history.yard.fleet.nodes()].map(({ id, kept: { places } }) => [id, places] as const)
  history.yard.dispatcher.close()
  await history.yard.turn()
  return { answers, kept: Object.fromEntries(kept) }
}

it('the same history has the same outcome, in whatever order the nodes joined', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const order = Object.keys(nodes)
      expect(await run(steps, order.toReversed())).toEqual(await run(steps, order))
    }),
    { numRuns: 60 },
  )
})
