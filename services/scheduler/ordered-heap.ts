/**
 * Items by an order that may change while they are in: a binary heap whose items know their places. The first is found at once, a change
 * costs the logarithm of the number of items.
 */
export interface Placed {
  /**
   * Where it is in the heaps that it may be in, by their slots; below 0: nowhere. In the item and not in a map of the heap: maps that become empty
   * and are filled again some thousand times a second are garbage that V8 takes for live until its next full collection.
   */
  readonly places: number[]
}

/** Of an item that is in none of its heaps. @param heaps in how many it may be at the same time */
export const noPlaces = (heaps: number): number[] => Array.from({ length: heaps }, () => -1)

export class OrderedHeap<T extends Placed> {
  readonly #before: (a: T, b: T) => boolean
  readonly #slot: number
  readonly #items: T[] = []

  /**
   * @param compare negative when `a` comes first; never 0 for two items, so that what comes first depends on nothing else.
   * @param slot of the items' `places`, which no other heap of theirs uses
   */
  constructor(compare: (a: T, b: T) => number, slot = 0) {
    this.#before = (a, b) => compare(a, b) < 0
    this.#slot = slot
  }

  get size(): number {
    return this.#items.length
  }

  has(item: T): boolean {
    return this.#items[item.places[this.#slot] ?? -1] === item
  }

  first(): T | undefined {
    return this.#items[0]
  }

  /** Adds the item, or finds its place anew. To be called after every change that its order depends on, before any other item's. */
  put(item: T): void {
    if (!this.has(item)) {
      item.places[this.#slot] = this.#items.length
      this.#items.push(item)
    }
    this.#move(item, item.places[this.#slot] as number)
  }

  delete(item: T): void {
    if (!this.has(item)) return
    const place = item.places[this.#slot] as number
    item.places[this.#slot] = -1
    const last = this.#items.pop()
    if (last && last !== item) this.#move(last, place)
  }

  /** The first ones first, found as they are asked for. Nothing may change meanwhile. */
  *inOrder(): Generator<T, undefined> {
    const items = this.#items
    const first = items[0]
    if (first === undefined) return
    yield first
    const before = this.#before
    const slot = this.#slot
    // Whoever comes next is a child of someone who came.
    const frontier: T[] = []
    const add = (place: number): void => {
      const item = items[place]
      if (item === undefined) return
      const at = frontier.findLastIndex((other) => before(item, other))
      frontier.splice(at + 1, 0, item)
    }
    add(1)
    add(2)
    for (let item = frontier.pop(); item !== undefined; item = frontier.pop()) {
      yield item
      const place = item.places[slot] as number
      add(2 * place + 1)
      add(2 * place + 2)
    }
  }

  /** To the place, and up or down from there. */
  #move(item: T, to: number): void {
    this.#down(this.#up(item, to), item)
  }

  #up(item: T, from: number): number {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = this.#items[above] as T
      if (!this.#before(item, parent)) break
      this.#set(parent, place)
      place = above
    }
    return place
  }

  #down(from: number, item: T): void {
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= this.#items.length) break
      let child = this.#items[below] as T
      const other = this.#items[below + 1]
      if (other !== undefined && this.#before(other, child)) {
        child = other
        below++
      }
      if (!this.#before(child, item)) break
      this.#set(child, place)
      place = below
    }
    this.#set(item, place)
  }

  #set(item: T, place: number): void {
    this.#items[place] = item
    item.places[this.#slot] = place
  }
}
