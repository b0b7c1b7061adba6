/**
 * Sandboxes made before a request needs them, per runtime, without function or code:
 *
 *   created   `runsc create` is done; a start restores the runtime's checkpoint into it
 *   parked    that too is done: a bare runtime waits at its socket for whichever function needs it first
 *
 * Taken once, by one function, for life. One that dies while it waits is replaced.
 */
import type { Logger } from '../../chassis/log.ts'
import type { RuntimeName } from '../../contracts/function.ts'
import type { SandboxInstance } from './sandbox-maker.ts'

export type PreparedKind = 'created' | 'parked'

export interface PreparedDeps {
  /** Runtimes that can be restored. */
  readonly runtimes: readonly RuntimeName[]
  /** How many are to wait. Asked again whenever something is made or ended. */
  readonly size: (kind: PreparedKind, runtime: RuntimeName) => number
  readonly make: (runtime: RuntimeName, kind: PreparedKind) => Promise<SandboxInstance>
  readonly end: (instance: SandboxInstance) => Promise<void>
  readonly onEvicted: (kind: PreparedKind) => void
  readonly logger: Logger
}

interface Waiting {
  readonly making: Promise<SandboxInstance>
  made?: SandboxInstance
}

/** After a failure; making one again at once would most likely fail again. */
const retryMs = 1_000

export class PreparedSandboxes {
  readonly #deps: PreparedDeps
  readonly #waiting: Readonly<Record<PreparedKind, Map<RuntimeName, Waiting[]>>>
  #closed = false
  #retry: NodeJS.Timeout | undefined

  constructor(deps: PreparedDeps) {
    this.#deps = deps
    const empty = () => new Map(deps.runtimes.map((name) => [name, [] as Waiting[]]))
    this.#waiting = { created: empty(), parked: empty() }
  }

  count(kind: PreparedKind, runtime: RuntimeName): number {
    return this.#waiting[kind].get(runtime)?.length ?? 0
  }

  /** Of all runtimes, with those in the making. */
  get total(): number {
    return Object.values(this.#waiting).reduce(
      (sum, byRuntime) => sum + [...byRuntime.values()].reduce((count, list) => count + list.length, 0),
      0,
    )
  }

  /** The one that has waited longest; it may still be in the making. The caller owns it, and calls `fill` when it has time. */
  take(kind: PreparedKind, runtime: RuntimeName): Promise<SandboxInstance> | undefined {
    return this.#waiting[kind].get(runtime)?.shift()?.making
  }

  /** Makes what is missing. Parked ones first: they are what a request waits for least. */
  fill(): void {
    for (const kind of ['parked', 'created'] as const)
      for (const [runtime, list] of this.#waiting[kind])
        while (!this.#closed && list.length < this.#deps.size(kind, runtime)) this.#make(kind, runtime, list)
  }

  /** Ends what is more than wanted. Resolves when nothing of it is left. */
  async trim(): Promise<void> {
    const ends: Promise<void>[] = []
    for (const kind of ['parked', 'created'] as const)
      for (const [runtime, list] of this.#waiting[kind])
        for (const { making } of list.splice(this.#deps.size(kind, runtime))) {
          this.#deps.onEvicted(kind)
          ends.push(
            making.then(
              (instance) => this.#deps.end(instance),
              () => undefined,
            ),
          )
        }
    await Promise.all(ends)
  }

  /** Those that are complete, with what they are. */
  *made(): Iterable<{
    readonly kind: PreparedKind
    readonly runtime: RuntimeName
    readonly instance: SandboxInstance
  }> {
    for (const kind of ['parked', 'created'] as const)
      for (const [runtime, list] of this.#waiting[kind])
        for (const { made } of list) if (made) yield { kind, runtime, instance: made }
  }

  async close(): Promise<void> {
    this.#closed = true
    const lists = Object.values(this.#waiting).flatMap((byRuntime) => [...byRuntime.values()])
    const all = lists.flatMap((list) => list.splice(0)).map(({ making }) => making)
    const made = await Promise.allSettled(all)
    const waiting = made.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    await Promise.all(waiting.map((instance) => this.#deps.end(instance)))
  }

  /** Once, however many failed: each of several would make as many anew, and so on. */
  #retrySoon(): void {
    if (this.#retry) return
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.fill()
    }, retryMs).unref()
  }

  #make(kind: PreparedKind, runtime: RuntimeName, list: Waiting[]): void {
    const making = this.#deps.make(runtime, kind)
    const entry: Waiting = { making }
    list.push(entry)
    const drop = (): boolean => {
      const at = list.indexOf(entry)
      if (at >= 0) void list.splice(at, 1)
      return at >= 0
    }
    making.then(
      (instance) => {
        entry.made = instance
        return instance.sandbox.exited.then(() => void (drop() && this.fill()))
      },
      (err: unknown) => {
        if (!drop()) return
        this.#deps.logger.error({ err, kind, runtime }, 'a sandbox could not be made ahead')
        this.#retrySoon()
      },
    )
  }
}
