/** When the functions of this node are called, and when its runtimes start something for them. Every event is recorded in constant time. */
import type { RuntimeName, VersionConfig } from '../../../contracts/function.ts'
import type { StartInstance } from '../../../contracts/node.ts'
import type { RevisionRef } from '../../../contracts/placement.ts'
import type { WaitingRequest } from '../../instance.ts'
import type { SavedHabits } from './habits-file.ts'
import { ArrivalLog } from './history.ts'

export interface Habit {
  readonly log: ArrivalLog
  /** Of the revision that was started last. */
  config?: VersionConfig
}

/** Those idle for longest are forgotten first. */
const keptHabits = 2_000
/** Nothing is expected of a function that was idle for so long. */
const forgottenAfterMs = 14_400_000

const functionKey = ({ tenant, name, version }: RevisionRef): string => `${tenant}/${name}/${version}`

export class Habits {
  readonly #now: () => number
  /** By function and version, least recently called first: habits outlive a revision. */
  readonly #byFunction = new Map<string, Habit>()
  readonly #inFlight = new Map<string, ArrivalLog>()
  readonly starts: ReadonlyMap<RuntimeName, ArrivalLog>
  readonly #starting = new Map<string, ArrivalLog>()

  /** @param now epoch milliseconds @param saved of an earlier run */
  constructor(runtimes: Iterable<RuntimeName>, now: () => number, saved?: SavedHabits) {
    this.#now = now
    const since = now()
    this.starts = new Map([...runtimes].map((runtime) => [runtime, new ArrivalLog(since, saved?.runtimes[runtime])]))
    for (const [key, history] of Object.entries(saved?.functions ?? {}))
      this.#byFunction.set(key, { log: new ArrivalLog(since, history) })
  }

  /** What is worth knowing in a later run. What is in flight counts as ended now: nothing outlives the agent. */
  save(): SavedHabits {
    const idleSince = this.#now()
    const of = (logs: Iterable<readonly [string, ArrivalLog]>) =>
      Object.fromEntries([...logs].map(([key, log]) => [key, { idleSince, ...log.history() }]))
    return { functions: of([...this.#byFunction].map(([key, { log }]) => [key, log])), runtimes: of(this.starts) }
  }

  all(): Iterable<Habit> {
    return this.#byFunction.values()
  }

  /** A forced start says nothing about how the function is called. */
  arrived({ invocationId, revision, forced }: WaitingRequest): void {
    if (forced) return
    const { log } = this.#of(revision)
    this.#inFlight.set(invocationId, log)
    log.arrived(this.#now())
  }

  gone(invocationId: string): void {
    this.#inFlight.get(invocationId)?.ended(this.#now())
    this.#inFlight.delete(invocationId)
  }

  /** A start that would use what its runtime holds. */
  startCommanded({ instanceId, runtime }: StartInstance): void {
    const log = this.starts.get(runtime)
    if (!log) return
    this.#starting.set(instanceId, log)
    log.arrived(this.#now())
  }

  startEnded(instanceId: string): void {
    this.#starting.get(instanceId)?.ended(this.#now())
    this.#starting.delete(instanceId)
  }

  /** The revision is started because it is called: its next instances are to be decided about. The call itself may come later. */
  uses(config: VersionConfig): void {
    this.#of(config).config = config
  }

  forget(): void {
    for (const [key, { log }] of this.#byFunction)
      if (!log.busy && this.#now() - log.idleSince >= forgottenAfterMs) this.#byFunction.delete(key)
  }

  #of(revision: RevisionRef): Habit {
    const key = functionKey(revision)
    const habit = this.#byFunction.get(key) ?? { log: new ArrivalLog(this.#now()) }
    this.#byFunction.delete(key)
    this.#byFunction.set(key, habit)
    const [oldest] = this.#byFunction.keys()
    if (this.#byFunction.size > keptHabits && oldest !== undefined) this.#byFunction.delete(oldest)
    return habit
  }
}
