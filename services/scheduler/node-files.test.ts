import { describe, expect, it } from 'vitest'
import type { NodeFiles } from '../contracts/code-images.ts'
import { revisionKey } from '../contracts/placement.ts'
import { explain } from './explain.ts'
import { needsOf, Yard, type NodeShape } from './testing/yard.ts'

const key = (name: string): string => revisionKey(needsOf({ name }).revision)
const none = { all: false, checkpoints: [], code: [], gone: [] }
const tell = (yard: Yard, nodeId: string, files: Partial<NodeFiles>) => yard.fleet.files({ nodeId, ...none, ...files })

/** Eight nodes; `a` comes first where nothing else decides. */
const nodes = (shape: NodeShape = {}) => Object.fromEntries('abcdefgh'.split('').map((id) => [id, shape]))
const nodeOf = (yard: Yard, name = 'f') => {
  const { placement, error } = yard.ask({ name })
  return placement?.nodeId ?? error?.code
}

describe('a start goes to a node that has', () => {
  it.each(['checkpoints', 'code'] as const)('the %s, other things being equal', (what) => {
    const yard = new Yard(nodes())
    tell(yard, 'g', { [what]: [key('f')] })
    expect([nodeOf(yard), nodeOf(yard, 'other')]).toEqual(['g', 'a'])
  })

  it('a checkpoint rather than the code', () => {
    const yard = new Yard(nodes())
    tell(yard, 'b', { code: [key('f')] })
    tell(yard, 'g', { checkpoints: [key('f')] })
    const outcome = yard.ask({ name: 'f' })
    expect(outcome.placement).toMatchObject({ nodeId: 'g', reason: expect.stringContaining('checkpoint') as string })
  })

  it('a checkpoint, however many others have the code', () => {
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`n${at}`, {}]))
    const yard = new Yard(many)
    for (const id of Object.keys(many)) tell(yard, id, { code: [key('f')] })
    tell(yard, 'n150', { checkpoints: [key('f')] })
    expect(nodeOf(yard)).toBe('n150')
    tell(yard, 'n150', { code: [key('f')] })
    expect(nodeOf(yard)).not.toBe('n150')
  })

  it('as long as it is there, and the node too', () => {
    const yard = new Yard(nodes())
    tell(yard, 'g', { checkpoints: [key('f'), key('g'), key('h')] })
    tell(yard, 'g', { gone: [key('f')] })
    expect(nodeOf(yard)).toBe('a')
    tell(yard, 'g', { all: true, checkpoints: [key('h')] })
    expect(nodeOf(yard, 'g')).not.toBe('g')
    yard.report('g', { accepting: false })
    expect(nodeOf(yard, 'h')).not.toBe('g')
    yard.report('g', { accepting: true })
    yard.fleet.removeNode('g')
    yard.join('g')
    expect(nodeOf(yard, 'h')).not.toBe('g')
    tell(yard, 'nobody', { checkpoints: [key('f')] })
  })

  it('nothing on a node of another pool, on one that refused, or that has no room', () => {
    const yard = new Yard({ ...nodes(), x: { pool: 'other' }, y: { memoryMiB: 100 }, z: { instances: 0 } })
    for (const id of ['x', 'y', 'z', 'h']) tell(yard, id, { checkpoints: [key('f')] })
    expect(yard.ask({ name: 'f', excludeNodes: ['h'] }).placement?.nodeId).toBe('a')
    expect(nodeOf(yard)).toBe('h')
  })
})

describe('files are not worth', () => {
  it('a node that is much more loaded; a checkpoint is worth some load, the code next to none', () => {
    for (const [what, mostMiB] of [
      ['checkpoints', 0.2 * 1024],
      ['code', 0.05 * 1024],
    ] as const)
      for (const usedMiB of [Math.floor(mostMiB) - 10, Math.ceil(mostMiB) + 10]) {
        const yard = new Yard(nodes())
        tell(yard, 'g', { [what]: [key('f')] })
        yard.report('g', { cache: { heldMiB: usedMiB, pinnedMiB: 0 } })
        expect(nodeOf(yard) === 'g').toBe(usedMiB <= mostMiB)
      }
  })

  it('waiting for the node’s other starts of the same revision: a burst is spread', () => {
    const yard = new Yard(nodes({ memoryMiB: 100_000 }))
    tell(yard, 'g', { checkpoints: [key('f')] })
    const placed = Array.from({ length: 10 }, () => nodeOf(yard))
    expect(placed.slice(0, 2)).toEqual(['g', 'g'])
    expect(placed.slice(2)).not.toContain('g')
    expect(new Set(placed.slice(2)).size).toBe(7)
  })

  it('crowding: of nodes that have the same, the one with the fewest instances', () => {
    const yard = new Yard(nodes({ memoryMiB: 100_000 }))
    for (const id of ['c', 'e', 'g']) tell(yard, id, { checkpoints: [key('f')] })
    expect(Array.from({ length: 6 }, () => String(nodeOf(yard))).toSorted()).toEqual(['c', 'c', 'e', 'e', 'g', 'g'])
  })
})

it('explain says who has what', () => {
  const yard = new Yard(nodes())
  tell(yard, 'b', { code: [key('f')] })
  tell(yard, 'a', { checkpoints: [key('f')] })
  const request = {
    ...needsOf({ name: 'f' }),
    invocationId: 'i',
    startWish: 'auto',
    deadlineAt: 1,
    excludeNodes: [],
  } as const
  const { nodeId, candidates } = explain(yard.fleet.view, { ...request, excludeNodes: [] }, yard.now)
  expect([nodeId, ...candidates.slice(0, 3).map(({ holds }) => holds)]).toEqual(['a', 'checkpoint', 'code', undefined])
})
