/**
 * The checkpoints of versions on this node. Made in the background, one at a time, for functions that were started in another way;
 * removed when their revision is not current any more, when they are not used, or when there are too many bytes of them.
 */
import type { Logger } from '../../chassis/log.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import { revisionKey } from '../../contracts/placement.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import { RefusedError } from './make-version.ts'
import type { SaveReport } from './maker-socket.ts'
import { removable } from './removable.ts'
import type { StoredCheckpoint, VersionStore } from './version-store.ts'

export interface VersionCheckpointsDeps {
  readonly config: Pick<
    NodeAgentConfig,
    'versionCheckpoints' | 'versionCheckpointsMiB' | 'versionCheckpointUnusedMs' | 'runtimes'
  >
  readonly store: VersionStore
  /** Name of the checkpoint that this revision needs on this machine. */
  readonly keyOf: (config: VersionConfig) => string
  /** Fills the directory, or gives up at the signal. @throws RefusedError; or what went wrong. Nothing runs any more then. */
  readonly make: (config: VersionConfig, directory: string, signal: AbortSignal) => Promise<SaveReport>
  /** False: the registry has a newer revision, or none any more. */
  readonly isCurrent: (ref: StoredCheckpoint['revision']) => Promise<boolean>
  /** For the function's log. */
  readonly tell: (config: VersionConfig, line: string) => void
  readonly logger: Logger
  readonly metrics: Pick<SchedulerMetrics, 'versionCheckpoints' | 'versionCheckpointBytes' | 'versionCheckpointEnds'>
}

/** What a start, or whoever decides what to hold, may know. Changes nothing. */
export interface VersionFacts {
  /** A checked checkpoint of the revision is here. */
  readonly ready: boolean
  /** What is saved with it: the function's own initialisation. */
  readonly initMs: number
  readonly bytes: number
  /** Why there will be none. */
  readonly refused?: string
}

export interface VersionReport {
  readonly revision: string
  readonly state: 'ready' | 'making' | 'waiting' | 'refused'
  readonly bytes: number
  readonly reason?: string
}

/** Retries after something went wrong. */
const attempts = 3
const retryMs = 5_000
const refusedKept = 1000
const runtimesWithHooks = new Set<string>(['nodejs24.x', 'python3.11'])

export class VersionCheckpoints {
  readonly #deps: VersionCheckpointsDeps
  /** By revision. */
  readonly #ready = new Map<string, StoredCheckpoint>()
  readonly #refused = new Map<string, string>()
  readonly #failed = new Map<string, { readonly times: number; readonly at: number }>()
  readonly #wanted = new Map<string, VersionConfig>()
  /** Starts that read files of it. */
  readonly #uses = new Map<string, Set<Promise<unknown>>>()
  #making: { readonly key: string; readonly done: Promise<void> } | undefined
  #sweeping: Promise<void> | undefined
  readonly #closing = new AbortController()

  constructor(deps: VersionCheckpointsDeps) {
    this.#deps = deps
  }

  facts(config: VersionConfig): VersionFacts {
    const key = revisionKey(config)
    const { runtimes, versionCheckpoints } = this.#deps.config
    const stored = versionCheckpoints ? this.#ready.get(key) : undefined
    const refused = !versionCheckpoints
      ? 'they are turned off'
      : !runtimesWithHooks.has(config.runtime)
        ? `${config.runtime} starts its program after the restore`
        : runtimes[config.runtime]?.checkpointPath === undefined
          ? 'no usable checkpoint of the runtime'
          : this.#refused.get(key)
    return {
      ready: stored !== undefined,
      initMs: stored?.initMs ?? 0,
      bytes: stored?.bytes ?? 0,
      ...(refused === undefined ? {} : { refused }),
    }
  }

  /** Lends the checkpoint's directory; it stays until `use` settles. @throws what `use` throws, and when there is none, or it was changed. */
  async use<T>(config: VersionConfig, use: (directory: string) => Promise<T>): Promise<T> {
    const stored = this.#ready.get(revisionKey(config))
    if (!stored) throw new Error('the checkpoint of the version is gone')
    const uses = this.#uses.get(stored.key) ?? new Set<Promise<unknown>>()
    this.#uses.set(stored.key, uses)
    const using = this.#unchanged(stored).then(() => use(stored.directory))
    uses.add(using)
    try {
      return await using
    } finally {
      uses.delete(using)
      if (uses.size === 0) this.#uses.delete(stored.key)
      this.#touch(stored)
    }
  }

  /** @throws Error */
  async #unchanged({ key }: StoredCheckpoint): Promise<void> {
    const problem = await this.#deps.store.problem(key)
    if (problem !== undefined) throw new Error(`the checkpoint of the version is damaged: ${problem}`)
  }

  /** It could not be restored: whatever it is, it is not used again. */
  damaged(config: VersionConfig): void {
    const key = revisionKey(config)
    const stored = this.#ready.get(key)
    if (stored) void this.#remove(key, stored, 'damaged')
  }

  /** A function was started in another way: its next instances may start from its own checkpoint. */
  want(config: VersionConfig): void {
    const key = revisionKey(config)
    const { ready, refused } = this.facts(config)
    if (!ready && refused === undefined && this.#making?.key !== key) this.#wanted.set(key, config)
  }

  /** Makes what is wanted. Costs CPU: not while a start has a caller waiting. */
  fill(): void {
    if (this.#making || this.#closing.signal.aborted) return
    for (const [key, config] of this.#wanted) {
      const failed = this.#failed.get(key)
      if (failed && performance.now() - failed.at < retryMs) continue
      this.#wanted.delete(key)
      const done = this.#obtain(key, config).finally(() => {
        this.#making = undefined
        this.#count()
        this.fill()
      })
      this.#making = { key, done }
      return
    }
  }

  /** Removes what is not to be kept, and looks again for what waits. Never rejects. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = undefined))
    return this.#sweeping
  }

  reports(): VersionReport[] {
    return [
      ...[...this.#ready].map(([revision, { bytes }]) => ({ revision, state: 'ready' as const, bytes })),
      ...[...this.#wanted.keys()].map((revision) => ({ revision, state: 'waiting' as const, bytes: 0 })),
      ...(this.#making ? [{ revision: this.#making.key, state: 'making' as const, bytes: 0 }] : []),
      ...[...this.#refused].map(([revision, reason]) => ({ revision, state: 'refused' as const, bytes: 0, reason })),
    ]
  }

  /** Keys of the revisions that start from one of their own. */
  ready(): string[] {
    return [...this.#ready.keys()]
  }

  /** Gives up what is being made. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the node is draining'))
    this.#wanted.clear()
    await this.#making?.done
    await this.#sweeping
  }

  /** Never rejects. */
  async #obtain(key: string, config: VersionConfig): Promise<void> {
    const { store, keyOf, make, logger } = this.#deps
    try {
      const name = keyOf(config)
      const found = await store.check(name)
      if (found === 'damaged') this.#ended(key, 'damaged', 'it is not what this node made')
      if (typeof found === 'object') return void this.#ready.set(key, found)
      let report: SaveReport | undefined
      const stored = await store.publish(name, async (directory) => {
        report = await make(config, directory, this.#closing.signal)
        const { tenant, name: of, version, revisionId } = config
        return { revision: { tenant, name: of, version, revisionId }, initMs: report.initMs }
      })
      if (!(await this.#deps.isCurrent(stored.revision))) return await store.remove(name)
      this.#failed.delete(key)
      this.#ready.set(key, stored)
      this.#deps.metrics.versionCheckpointEnds.inc({ outcome: 'made' })
      logger.info({ revision: key, bytes: stored.bytes, initMs: stored.initMs }, 'made a checkpoint of the version')
      for (const warning of report?.warnings ?? []) this.#deps.tell(config, `CHECKPOINT ${warning}`)
    } catch (error) {
      this.#failedToMake(key, config, error)
    }
  }

  #failedToMake(key: string, config: VersionConfig, error: unknown): void {
    if (this.#closing.signal.aborted) return
    const { times = 0 } = this.#failed.get(key) ?? {}
    const message = error instanceof Error ? error.message : String(error)
    if (error instanceof RefusedError || times + 1 >= attempts) {
      const reason = error instanceof RefusedError ? message : `failed ${attempts} times: ${message.slice(0, 300)}`
      this.#failed.delete(key)
      this.#refused.set(key, reason)
      const [oldest] = this.#refused.keys()
      if (this.#refused.size > refusedKept && oldest !== undefined) this.#refused.delete(oldest)
      this.#ended(key, 'refused', reason)
      this.#deps.tell(config, `CHECKPOINT none of this version: ${reason}`)
      return
    }
    this.#failed.set(key, { times: times + 1, at: performance.now() })
    this.#wanted.set(key, config)
    this.#deps.metrics.versionCheckpointEnds.inc({ outcome: 'failed' })
    this.#deps.logger.warn({ err: error, revision: key }, 'a checkpoint of the version could not be made')
  }

  async #sweep(): Promise<void> {
    const { store, config, isCurrent, logger } = this.#deps
    try {
      await store.removeUnreadable()
      const stored = store.list()
      const current = new Set<string>()
      for (const { key, revision } of stored) if (await isCurrent(revision)) current.add(key)
      const limits = {
        bytes: config.versionCheckpointsMiB * 1024 * 1024,
        unusedMs: config.versionCheckpointUnusedMs,
      }
      for (const { checkpoint, reason } of removable(stored, current, limits, Date.now()))
        await this.#remove(revisionKey(checkpoint.revision), checkpoint, reason)
    } catch (err) {
      logger.warn({ err }, 'checkpoints of versions could not be swept')
    }
    for (const [key, { at }] of this.#failed) if (performance.now() - at > 60 * retryMs) this.#failed.delete(key)
  }

  async #remove(key: string, stored: StoredCheckpoint, reason: string): Promise<void> {
    if (this.#ready.get(key)?.key === stored.key) this.#ready.delete(key)
    this.#ended(key, reason, 'removed')
    const uses = this.#uses.get(stored.key)
    if (uses) await Promise.allSettled(uses)
    await this.#deps.store.remove(stored.key)
  }

  #touch(stored: StoredCheckpoint): void {
    try {
      this.#deps.store.used(stored.key)
    } catch {
      // It was removed meanwhile.
    }
  }

  #ended(revision: string, outcome: string, detail: string): void {
    this.#deps.metrics.versionCheckpointEnds.inc({ outcome })
    this.#deps.logger.info({ revision, outcome, detail }, 'no checkpoint of the version')
    this.#count()
  }

  #count(): void {
    const all = [...this.#ready.values()]
    this.#deps.metrics.versionCheckpoints.set(all.length)
    this.#deps.metrics.versionCheckpointBytes.set(all.reduce((sum, { bytes }) => sum + bytes, 0))
  }
}
