/** Habits outlive the agent: what it learned is in a file of its state directory. Losing it loses nothing but that. */
import { readFileSync } from 'node:fs'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import type { Logger } from '../../../chassis/log.ts'
import { writeWhole } from '../../../chassis/write-whole.ts'
import type { History } from './history.ts'

const SavedHistory = Type.Object({
  /** Epoch milliseconds. */
  idleSince: Type.Number(),
  gapsMs: Type.Array(Type.Number({ minimum: 0 })),
  overlaps: Type.Array(Type.Integer({ minimum: 1 })),
})
const Content = Type.Object({
  functions: Type.Record(Type.String(), SavedHistory),
  runtimes: Type.Record(Type.String(), SavedHistory),
})

export interface SavedHabits {
  /** By function and version (`tenant/name/version`), least recently called first. */
  readonly functions: Readonly<Record<string, Required<History>>>
  readonly runtimes: Readonly<Record<string, Required<History>>>
}

export class HabitsFile {
  readonly #path: string
  readonly #logger: Logger

  constructor(path: string, logger: Logger) {
    this.#path = path
    this.#logger = logger
  }

  /** Undefined when there is none, or it is damaged. */
  read(): SavedHabits | undefined {
    try {
      return Value.Parse(Content, JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') this.#logger.warn({ err }, 'habits are learned anew')
      return undefined
    }
  }

  /** All or nothing. Never throws: a full disk costs what was learned since the last time. */
  write(habits: SavedHabits): void {
    try {
      writeWhole(this.#path, JSON.stringify(habits))
    } catch (err) {
      this.#logger.warn({ err }, 'habits could not be saved')
    }
  }
}
