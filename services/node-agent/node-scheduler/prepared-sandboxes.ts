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
import type { SandboxInstance } from './sandbox-starter.ts'

export type PreparedKind = 'created' | 'parked'

export interface PreparedDeps {
  /** Runtimes that can be restored. */
  readonly runtimes: readonly RuntimeName[]
  /** How many of each kind wait, per runtime. */
  readonly sizes: Readonly<Record<PreparedKind, number>>
  readonly make: (runtime: RuntimeName, kind: PreparedKind) => Promise<SandboxInstance>
  readonly end: (instance: SandboxInstance) => Promise<void>
  readonly logger: Logger
}

/** After a failure; making one again at once would most likely fail again. */
const retryMs = 1_000

export class PreparedSandboxes {
  readonly #deps: PreparedDeps
  readonly #waiting: Readonly<Record<PreparedKind, Map<RuntimeName, Promise<SandboxInstance>[]>>>
  #closed = false

  constructor(deps: PreparedDeps) {
    this.#deps = deps
    const empty = () => new Map(deps.runtimes.map((name) => [name, [] as Promise<SandboxInstance>[]]))
    this.#waiting = { created: empty(), parked: empty() }
  }

  count(kind: PreparedKind, runtime: RuntimeName): number {
    return this.#waiting[kind].get(runtime)?.length ?? 0
  }

  /** The one that has waited longest; it may still be in the making. The caller owns it, and calls `fill` when it has time. */
  take(kind: PreparedKind, runtime: RuntimeName): Promise<SandboxInstance> | undefined {
    return this.#waiting[kind].get(runtime)?.shift()
  }

  /** Makes what is missing. Parked ones first: they are what a request waits for least. */
  fill(): void {
    for (const kind of ['parked', 'created'] as const)
      for (const [runtime, list] of this.#waiting[kind])
        while (!this.#closed && list.length < this.#deps.sizes[kind]) this.#make(kind, runtime, list)
  }

  async close(): Promise<void> {
    this.#closed = true
    const lists = Object.values(this.#waiting).flatMap((byRuntime) => [...byRuntime.values()])
    const all = lists.flatMap((list) => list.splice(0))
    const made = await Promise.allSettled(all)
    const waiting = made.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    await Promise.all(waiting.map((instance) => this.#deps.end(instance)))
  }

  #make(kind: PreparedKind, runtime: RuntimeName, list: Promise<SandboxInstance>[]): void {
    const making = this.#deps.make(runtime, kind)
    list.push(making)
    const drop = (): boolean => {
      const at = list.indexOf(making)
      if (at >= 0) void list.splice(at, 1)
      return at >= 0
    }
    making.then(
      ({ sandbox }) => void sandbox.exited.then(() => drop() && this.fill()),
      (err: unknown) => {
        if (!drop()) return
        this.#deps.logger.error({ err, kind, runtime }, 'a sandbox could not be made ahead')
        setTimeout(() => this.fill(), retryMs).unref()
      },
    )
  }
}
