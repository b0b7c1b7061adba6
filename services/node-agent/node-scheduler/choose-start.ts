/** How a new instance is made: pure, so that it can be tested and explained. */
import type { StartWish } from '../../contracts/placement.ts'
import type { VersionFacts } from '../checkpoint/version-checkpoints.ts'
import { defaultTmpMiB, type CheckpointOf } from '../sandbox/bundle.ts'
import type { PreparedKind } from './prepared-sandboxes.ts'

export interface ForkFacts {
  /** Forks of the revision that wait at their sockets. */
  readonly parked: number
  /** A seed of the revision is here. */
  readonly hasSeed: boolean
  /** Why none can be forked now. */
  readonly refused?: string
}

export interface StartFacts {
  readonly wish: StartWish
  /** A checked checkpoint of the runtime is here. */
  readonly hasCheckpoint: boolean
  /** Sandboxes of the runtime that wait for use. */
  readonly prepared: Readonly<Record<PreparedKind, number>>
  readonly ephemeralStorageMiB: number
  readonly fork: ForkFacts
  readonly version: VersionFacts
  /** The code is small enough to be copied into a sandbox that was created without it. */
  readonly copiesCode: boolean
}

export type StartChoice =
  | { readonly way: 'boot'; readonly reason: string }
  | {
      readonly way: 'restore'
      readonly checkpoint: CheckpointOf
      /** What the start begins with; absent: with nothing. */
      readonly use?: PreparedKind
      readonly reason: string
    }
  | {
      readonly way: 'fork'
      /** A fork that waits; otherwise one is made now. */
      readonly parked: boolean
      readonly reason: string
    }

/** What each wish may use, the best first. Whoever asked for a fork that cannot be is restored as `auto` is. */
const usable: Readonly<Record<Exclude<StartWish, 'boot'>, readonly PreparedKind[]>> = {
  auto: ['parked', 'created'],
  fork: ['parked', 'created'],
  'fork-parked': ['parked', 'created'],
  'restore-parked': ['parked', 'created'],
  'restore-precreated': ['created'],
  restore: [],
}

const why: Readonly<Record<PreparedKind, string>> = {
  parked: 'a restored runtime waits at its socket',
  created: 'a created sandbox waits',
}

const chooseFork = (wish: StartWish, { parked, hasSeed, refused }: ForkFacts): StartChoice | undefined => {
  if (parked > 0 && (wish === 'auto' || wish === 'fork-parked'))
    return { way: 'fork', parked: true, reason: 'a fork waits at its socket' }
  if (refused !== undefined) return undefined
  if (hasSeed && (wish === 'auto' || wish === 'fork' || wish === 'fork-parked'))
    return { way: 'fork', parked: false, reason: 'a seed of the function is here' }
  // A seed takes as long as a boot: nobody waits for one who did not ask for it.
  return wish === 'fork' || wish === 'fork-parked' ? { way: 'fork', parked: false, reason: 'asked for' } : undefined
}

/** A runtime that waits at its socket saves a restore: about as much as this of a function's initialisation. */
const restoreMs = 30

const chooseVersion = (facts: StartFacts): StartChoice | undefined => {
  const { wish, prepared, version, ephemeralStorageMiB, copiesCode } = facts
  if (!version.ready || wish === 'boot') return undefined
  const sameTmp = ephemeralStorageMiB === defaultTmpMiB
  const parked = sameTmp && prepared.parked > 0 && usable[wish].includes('parked')
  if (parked && (wish === 'restore-parked' || version.initMs < restoreMs)) return undefined
  const created = sameTmp && copiesCode && prepared.created > 0 && usable[wish].includes('created')
  const reason = 'a checkpoint of the version is here'
  return { way: 'restore', checkpoint: 'version', reason, ...(created ? { use: 'created' as const } : {}) }
}

export const chooseStart = (facts: StartFacts): StartChoice => {
  const { wish, hasCheckpoint, prepared, ephemeralStorageMiB, fork } = facts
  if (wish === 'boot') return { way: 'boot', reason: 'asked for' }
  const forked = chooseFork(wish, fork)
  if (forked) return forked
  const instead = wish.startsWith('fork') ? `no fork: ${fork.refused}; ` : ''
  const version = chooseVersion(facts)
  if (version) return { ...version, reason: instead + version.reason }
  if (!hasCheckpoint) return { way: 'boot', reason: `${instead}no usable checkpoint of the runtime` }
  // The size of /tmp is part of what was checkpointed.
  if (ephemeralStorageMiB !== defaultTmpMiB)
    return { way: 'boot', reason: `${instead}/tmp of ${ephemeralStorageMiB} MiB is not the checkpoint's` }
  const use = usable[wish].find((kind) => prepared[kind] > 0)
  if (use) return { way: 'restore', checkpoint: 'runtime', use, reason: instead + why[use] }
  const restored = wish === 'restore' ? 'asked for' : 'a checkpoint of the runtime is here'
  return { way: 'restore', checkpoint: 'runtime', reason: instead + restored }
}
