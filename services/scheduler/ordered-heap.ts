/**
 * Items by an order that may change while they are in: a binary heap that knows each item's place. The first is found at once, a change
 * costs the logarithm of the number of items.
 */
interface Entry<T> {
  readonly item: T
  place: number
}

export class OrderedHeap<T> {
  readonly #before: (a: T, b: T) => boolean
  readonly #entries: Entry<T>[] = []
  readonly #byItem = new Map<T, Entry<T>>()

  /** @param compare negative when `a` comes first; never 0 for two items, so that what comes first depends on nothing else. */
  constructor(compare: (a: T, b: T) => number) {
    this.#before = (a, b) => compare(a, b) < 0
  }

  get size(): number {
    return this.#entries.length
  }

  has(item: T): boolean {
    return this.#byItem.has(item)
  }

  first(): T | undefined {
    return this.#entries[0]?.item
  }

  /** Adds the item, or finds its place anew. To be called after every change that its order depends on, before any other item's. */
  put(item: T): void {
    let entry = this.#byItem.get(item)
    if (!entry) {
      entry = { item, place: this.#entries.length }
      this.#byItem.set(item, entry)
      this.#entries.push(entry)
    }
    this.#move(entry, entry.place)
  }

  delete(item: T): void {
    const entry = this.#byItem.get(item)
    if (!entry) return
    this.#byItem.delete(item)
    const last = this.#entries.pop()
    if (last && last !== entry) this.#move(last, entry.place)
  }

  /** The first ones first, found as they are asked for. Nothing may change meanwhile. */
  *inOrder(): Generator<T, undefined> {
    const entries = this.#entries
    const first = entries[0]
    if (first === undefined) return
    yield first.item
    const before = this.#before
    // Whoever comes next is a child of someone who came.
    const frontier: Entry<T>[] = []
    const add = (place: number): void => {
      const entry = entries[place]
      if (entry === undefined) return
      const at = frontier.findLastIndex((other) => before(entry.item, other.item))
      frontier.splice(at + 1, 0, entry)
    }
    add(1)
    add(2)
    for (let entry = frontier.pop(); entry !== undefined; entry = frontier.pop()) {
      yield entry.item
      add(2 * entry.place + 1)
      add(2 * entry.place + 2)
    }
  }

  /** To the place, and up or down from there. */
  #move(entry: Entry<T>, to: number): void {
    this.#down(this.#up(entry, to), entry)
  }

  #up({ item }: Entry<T>, from: number): number {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = this.#entries[above] as Entry<T>
      if (!this.#before(item, parent.item)) break
      this.#set(parent, place)
      place = above
    }
    return place
  }

  #down(from: number, entry: Entry<T>): void {
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= this.#entries.length) break
      let child = this.#entries[below] as Entry<T>
      const other = this.#entries[below + 1]
      if (other !== undefined && this.#before(other.item, child.item)) {
        child = other
        below++
      }
      if (!this.#before(child.item, entry.item)) break
      this.#set(child, place)
      place = below
    }
    this.#set(entry, place)
  }

  #set(entry: Entry<T>, place: number): void {
    this.#entries[place] = entry
    entry.place = place
  }
}
