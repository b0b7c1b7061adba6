import { array, assert, integer, property, uniqueArray } from 'fast-check'
import { expect, it } from 'vitest'
import { numberKey, pageOf } from './pages.ts'

const read = (all: string[], size: number): string[][] => {
  const pages: string[][] = []
  let Marker: string | undefined
  do {
    const { items, next } = pageOf(all, { Marker, MaxItems: size }, (item) => item)
    pages.push([...items])
    Marker = next.NextMarker
  } while (Marker !== undefined)
  return pages
}

it('every item is on exactly one page, and no page is over its size', () => {
  assert(
    property(uniqueArray(integer({ min: 0, max: 1e9 })), integer({ min: 1, max: 60 }), (numbers, size) => {
      const all = numbers.map(numberKey).toSorted()
      const pages = read(all, size)
      expect(pages.flat()).toEqual(all)
      expect(Math.max(...pages.map((page) => page.length))).toBeLessThanOrEqual(Math.min(size, 50))
    }),
  )
})

it('numbers sort as text', () => {
  assert(
    property(array(integer({ min: 0, max: 2 ** 31 })), (numbers) => {
      expect(numbers.map(numberKey).toSorted()).toEqual(numbers.toSorted((a, b) => a - b).map(numberKey))
    }),
  )
})

it('a page goes on where the last one ended, also when its last item is gone', () => {
  const { next } = pageOf(['a', 'b', 'c'], { MaxItems: 2 }, (item) => item)
  expect(pageOf(['a', 'c'], { Marker: next.NextMarker }, (item) => item).items).toEqual(['c'])
})

it('a marker of somebody else is refused', () => {
  expect(() => pageOf(['a'], { Marker: 'nonsense' }, (item) => item)).toThrow('Marker')
})
