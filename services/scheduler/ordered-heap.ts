/**
 * Items by an order that may change while they are in: a binary heap that knows each item's place. The first is found at once, a change
 * costs the logarithm of the number of items.
 */
export class OrderedHeap<T> {
  readonly #before: (a: T, b: T) => boolean
  readonly #items: T[] = []
  readonly #places = new Map<T, number>()

  /** @param compare negative when `a` comes first; never 0 for two items, so that what comes first depends on nothing else. */
  constructor(compare: (a: T, b: T) => number) {
    this.#before = (a, b) => compare(a, b) < 0
  }

  get size(): number {
    return this.#items.length
  }

  has(item: T): boolean {
    return this.#places.has(item)
  }

  first(): T | undefined {
    return this.#items[0]
  }

  /** Adds the item, or finds its place anew. To be called after every change that its order depends on, before any other item's. */
  put(item: T): void {
    const place = this.#places.get(item) ?? this.#items.length
    this.#down(this.#up(item, place), item)
  }

  delete(item: T): void {
    const place = this.#places.get(item)
    if (place === undefined) return
    this.#places.delete(item)
    const last = this.#items.pop()
    if (last === undefined || last === item) return
    this.#down(this.#up(last, place), last)
  }

  /** The first ones first, found as they are asked for. Nothing may change meanwhile. */
  *inOrder(): Generator<T, undefined> {
    const items = this.#items
    const first = items[0]
    if (first === undefined) return
    yield first
    const before = this.#before
    // Whoever comes next is a child of someone who came.
    const frontier: number[] = []
    const add = (place: number): void => {
      const item = items[place]
      if (item === undefined) return
      const at = frontier.findLastIndex((other) => before(item, items[other] as T))
      frontier.splice(at + 1, 0, place)
    }
    add(1)
    add(2)
    for (let place = frontier.pop(); place !== undefined; place = frontier.pop()) {
      yield items[place] as T
      add(2 * place + 1)
      add(2 * place + 2)
    }
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
    // Most changes move nothing.
    if (this.#items[place] !== item) this.#set(item, place)
  }

  #set(item: T, place: number): void {
    this.#items[place] = item
    this.#places.set(item, place)
  }
}
