/** What a decision about the cache is made from: plain data, nothing else. The same input gives the same decision, anywhere. */
import type { InstancePolicy, RuntimeName } from '../../../contracts/function.ts'
import type { History } from './history.ts'

/** `strict-cold` keeps nothing that costs CPU or memory. */
export const cacheModes = ['adaptive', 'strict-cold'] as const
export type CacheMode = (typeof cacheModes)[number]

/** How an instance came to be, with what had been made ahead. */
export const startWays = ['boot', 'restore', 'restore-precreated', 'restore-parked', 'fork', 'fork-parked'] as const
export type StartWay = (typeof startWays)[number]

export const cacheLevels = ['idle', 'parkedFork', 'seed', 'parked', 'created'] as const
/** Idle instances; forks that wait; seeds; restored runtimes that wait; created sandboxes. */
export type CacheLevel = (typeof cacheLevels)[number]

export interface LevelCosts {
  /** What one holds. */
  readonly memoryMiB: Readonly<Record<CacheLevel, number>>
  /** From the start command to the instance's first pull, without the function's own initialisation. */
  readonly latencyMs: Readonly<Record<StartWay, number>>
  /** To make one. */
  readonly cpuMs: Readonly<Record<Exclude<CacheLevel, 'idle'>, number>>
}

export interface RevisionInput {
  readonly key: string
  readonly runtime: RuntimeName
  readonly policy: InstancePolicy
  readonly history: History
  /** What its own code adds to a start that is no fork. */
  readonly initMs: number
  /** Of one of its idle instances. */
  readonly idleMiB: number
  /** Instances that are there or on their way. */
  readonly instances: number
  readonly held: { readonly seed: boolean; readonly parkedForks: number }
  /** Absent: it may be forked. */
  readonly forkRefused?: string
}

export interface RuntimeInput {
  readonly runtime: RuntimeName
  /** A checkpoint is here. */
  readonly restorable: boolean
  readonly costs: LevelCosts
  /** Starts that are no forks. */
  readonly history: History
  readonly held: { readonly created: number; readonly parked: number }
}

/** Numbers of the operator; a level that has one is not decided by history. */
export interface FixedSizes {
  readonly created?: number
  readonly parked?: number
  readonly seeds?: number
  readonly parkedForks?: number
  /** With `seeds`: for how long an unused one stays. */
  readonly seedIdleMs: number
}

export interface CacheInput {
  /** Epoch milliseconds. */
  readonly now: number
  readonly mode: CacheMode
  /** All levels together. */
  readonly budgetMiB: number
  /** What instances leave of the node's memory: all levels but idle instances, which are booked as what they are. */
  readonly roomMiB: number
  readonly fixed: FixedSizes
  readonly maxParkedForks: number
  readonly runtimes: readonly RuntimeInput[]
  /** Those that were started here. Where two are worth the same, the first wins. */
  readonly revisions: readonly RevisionInput[]
}

export interface LevelDecision {
  readonly count: number
  readonly reason: string
}

export interface RevisionDecision {
  readonly key: string
  /** Idle instances to keep, and each for how long; the others end now. */
  readonly idle: LevelDecision & { readonly keepAliveMs: number }
  /** `count` is 0 or 1. */
  readonly seed: LevelDecision
  readonly parkedFork: LevelDecision
}

export interface RuntimeDecision {
  readonly runtime: RuntimeName
  readonly created: LevelDecision
  readonly parked: LevelDecision
}

export interface CacheDecision {
  /** What the decision holds, by the costs of its input. Fixed numbers are in it. */
  readonly plannedMiB: number
  readonly fixedMiB: number
  /** Milliseconds of latency that a MiB has to save per second to be held. */
  readonly price: number
  readonly revisions: readonly RevisionDecision[]
  readonly runtimes: readonly RuntimeDecision[]
}
