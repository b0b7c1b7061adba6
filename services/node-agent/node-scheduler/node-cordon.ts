/** Whether this node is cordoned. It outlives the agent and every scheduler, because it is the node that keeps it and tells it in its reports. */
import { readFileSync, rmSync } from 'node:fs'
import { Value } from 'typebox/value'
import type { Logger } from '../../chassis/log.ts'
import { writeWhole } from '../../chassis/write-whole.ts'
import { Cordon } from '../../contracts/node.ts'

export class NodeCordon {
  readonly #path: string
  readonly #logger: Logger
  readonly #onChange: () => void
  #current: Cordon | undefined

  /** @param onChange it began, or it ended */
  constructor(path: string, logger: Logger, onChange: () => void) {
    this.#path = path
    this.#logger = logger
    this.#onChange = onChange
    this.#current = this.#read()
  }

  get current(): Cordon | undefined {
    return this.#current
  }

  /** On disk before it holds. @throws Error when it cannot be written: nobody is to believe it then. */
  set(cordon: Cordon | undefined): void {
    if (cordon) writeWhole(this.#path, JSON.stringify(cordon))
    else rmSync(this.#path, { force: true })
    this.#current = cordon
    this.#logger.warn({ cordon: cordon ?? null }, cordon ? 'the node is cordoned' : 'the node is cordoned no more')
    this.#onChange()
  }

  /** One that cannot be read is one all the same: whoever set it had a reason. */
  #read(): Cordon | undefined {
    try {
      return Value.Parse(Cordon, JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      this.#logger.error({ err }, 'the cordon of this node cannot be read')
      return { by: 'platform', reason: 'its cordon cannot be read', since: Date.now() }
    }
  }
}
