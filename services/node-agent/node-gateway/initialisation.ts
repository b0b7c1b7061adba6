/** An instance from its socket to its first pull: it asks what it is, is told, and initialises, in time or not. */
import { PlatformError } from '../../contracts/errors.ts'
import type { AssignmentInput } from '../instance.ts'
import { restoreTimedOut, timedOut } from './function-errors.ts'

export class Initialisation {
  readonly #instanceId: string
  readonly #initMs: number
  readonly #assigned = Promise.withResolvers<AssignmentInput>()
  readonly #ready = Promise.withResolvers<void>()
  /** Resolves at `succeeded`, rejects at `failed`. */
  readonly ready = this.#ready.promise
  input: AssignmentInput | undefined
  /** `performance.now()`; 0 before. */
  assignedAt = 0
  readyAt = 0
  #timer: NodeJS.Timeout | undefined

  /** @param initMs from the assignment to its end, at most */
  constructor(instanceId: string, initMs: number) {
    this.#instanceId = instanceId
    this.#initMs = initMs
    // Whoever started the instance awaits it; until then a rejection is not unhandled.
    this.ready.catch(() => undefined)
  }

  /** Known once it is assigned. */
  get assigned(): Promise<AssignmentInput> {
    return this.#assigned.promise
  }

  /** @throws PlatformError INTERNAL the second time. */
  assign(input: AssignmentInput): void {
    if (this.input) throw new PlatformError('INTERNAL', 'the instance has its assignment already')
    this.input = input
    this.assignedAt = performance.now()
    this.#assigned.resolve(input)
    this.#timer = setTimeout(() => {
      const late = input.checkpoint === 'version' ? restoreTimedOut : timedOut
      this.failed(late(this.#instanceId, this.#initMs).body)
    }, this.#initMs)
  }

  /** Idempotent. */
  succeeded(): void {
    if (this.readyAt > 0) return
    this.readyAt = performance.now()
    clearTimeout(this.#timer)
    this.#ready.resolve()
  }

  /** Nothing once it succeeded. @param body the error's JSON, for the requests that waited for this start */
  failed(body: Buffer): void {
    if (this.readyAt > 0) return
    clearTimeout(this.#timer)
    const functionError = body.toString('utf8')
    const details = { functionError, instanceId: this.#instanceId, startType: this.input?.startType ?? 'boot' }
    this.#ready.reject(new PlatformError('START_FAILED', 'the function could not be initialised', details))
  }

  /** The sandbox ended before anybody knew what it was for. */
  lost(detail: string): void {
    this.#ready.reject(new PlatformError('INSTANCE_LOST', `the sandbox ended: ${detail}`))
  }
}
