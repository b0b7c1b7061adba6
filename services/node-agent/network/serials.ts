/**
 * The highest number of each signed record that this node has seen, on its own disk: whoever can write to the store can put an earlier record
 * back, signature and all, but not make the node forget that there was a later one.
 */
import { existsSync, readFileSync } from 'node:fs'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import type { Logger } from '../../chassis/log.ts'
import { writeWhole } from '../../chassis/write-whole.ts'

/** An earlier record has come in the place of a later one. */
export class ReplayError extends Error {
  override readonly name = 'ReplayError'
}

const Seen = Type.Record(Type.String(), Type.Integer({ minimum: 0 }))

export class Serials {
  readonly #path: string
  readonly #logger: Logger
  readonly #seen: Map<string, number>
  #writing: NodeJS.Immediate | undefined

  /** A file that cannot be read counts as none, and is told: the node then believes what the store has now. */
  constructor(path: string, logger: Logger) {
    this.#path = path
    this.#logger = logger
    this.#seen = new Map(Object.entries(this.#read()))
  }

  /** @throws ReplayError when a later one was here before. */
  accept(key: string, serial: number): void {
    const seen = this.#seen.get(key)
    if (seen !== undefined && serial < seen)
      throw new ReplayError(`${key} was changed after this record was written: somebody has put it back`)
    if (serial === seen) return
    this.#seen.set(key, serial)
    // All that come at once are written at once.
    this.#writing ??= setImmediate(() => this.#write())
  }

  close(): void {
    if (this.#writing) this.#write()
  }

  #write(): void {
    clearImmediate(this.#writing)
    this.#writing = undefined
    try {
      writeWhole(this.#path, JSON.stringify(Object.fromEntries(this.#seen)))
    } catch (err) {
      this.#logger.error({ err }, 'what was seen of policies and bindings could not be written down')
    }
  }

  #read(): Record<string, number> {
    if (!existsSync(this.#path)) return {}
    try {
      return Value.Parse(Seen, JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (err) {
      this.#logger.error({ err, path: this.#path }, 'what was seen of policies and bindings cannot be read')
      return {}
    }
  }
}
