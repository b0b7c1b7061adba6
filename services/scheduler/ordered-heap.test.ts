import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { noPlaces, OrderedHeap, type Placed } from './ordered-heap.ts'

interface Item extends Placed {
  readonly id: number
  rank: number
}

const compare = (a: Item, b: Item): number => a.rank - b.rank || a.id - b.id

describe('an ordered heap', () => {
  it('for any sequence of changes tells the items in their order', () => {
    const step = fc.tuple(fc.nat(20), fc.option(fc.nat(10)))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const heap = new OrderedHeap(compare)
        const items = Array.from({ length: 21 }, (_, id): Item => ({ id, rank: 0, places: noPlaces(2) }))
        const other = new OrderedHeap<Item>((a, b) => b.id - a.id, 1)
        for (const item of items) other.put(item)
        const held = new Set<Item>()
        for (const [id, rank] of steps) {
          const item = items[id] as Item
          if (rank === null) {
            heap.delete(item)
            held.delete(item)
          } else {
            item.rank = rank
            heap.put(item)
            held.add(item)
          }
          const wanted = [...held].toSorted(compare)
          expect([...heap.inOrder()]).toEqual(wanted)
          expect(heap.first()).toBe(wanted[0])
          expect(heap.size).toBe(wanted.length)
          expect(items.filter((each) => heap.has(each))).toEqual(items.filter((each) => held.has(each)))
        }
        expect([...other.inOrder()]).toEqual(items.toReversed())
      }),
    )
  })
})
