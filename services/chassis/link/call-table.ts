/**
 * What waits for an answer, by number. Not a `Map`: one that is filled and emptied ten thousand times a second gets a new table again and again, and
 * once one of these is old, V8 takes all that follow for live until the next full collection.
 */

/** Places; numbers of one place differ by so many. */
const places = 32_768

export class CallTable<T> {
  readonly #items: (T | undefined)[] = []
  /** The last one of each place. */
  readonly #numbers: number[] = []
  readonly #free: number[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  /** @returns its number: above 0, and never one that was given before. @throws RangeError when all places are taken */
  add(item: T): number {
    const place = this.#free.pop() ?? this.#items.length
    if (place >= places) throw new RangeError(`more than ${places} calls wait for an answer`)
    const number = (this.#numbers[place] ?? place + 1 - places) + places
    this.#items[place] = item
    this.#numbers[place] = number
    this.#size++
    return number
  }

  /** @returns what had the number, until now */
  take(number: number): T | undefined {
    const place = (number - 1) % places
    const item = this.#numbers[place] === number ? this.#items[place] : undefined
    if (item === undefined) return undefined
    this.#items[place] = undefined
    this.#free.push(place)
    this.#size--
    return item
  }

  /** In no order. */
  *numbers(): Generator<[number, T]> {
    for (const [place, item] of this.#items.entries())
      if (item !== undefined) yield [this.#numbers[place] as number, item]
  }
}
