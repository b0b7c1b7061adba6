/** How a new instance is made: pure, so that it can be tested and explained. */
import type { StartWish } from '../../contracts/placement.ts'
import { defaultTmpMiB } from '../sandbox/bundle.ts'
import type { PreparedKind } from './prepared-sandboxes.ts'

export interface StartFacts {
  readonly wish: StartWish
  /** A checked checkpoint of the runtime is here. */
  readonly hasCheckpoint: boolean
  /** Sandboxes of the runtime that wait for use. */
  readonly prepared: Readonly<Record<PreparedKind, number>>
  readonly ephemeralStorageMiB: number
}

export interface StartChoice {
  readonly way: 'restore' | 'boot'
  /** What the start begins with; absent: with nothing. */
  readonly use?: PreparedKind
  readonly reason: string
}

/** What each wish may use, the best first. */
const usable: Readonly<Record<Exclude<StartWish, 'boot'>, readonly PreparedKind[]>> = {
  auto: ['parked', 'created'],
  'restore-parked': ['parked', 'created'],
  'restore-precreated': ['created'],
  restore: [],
}

const why: Readonly<Record<PreparedKind, string>> = {
  parked: 'a restored runtime waits at its socket',
  created: 'a created sandbox waits',
}

export const chooseStart = ({ wish, hasCheckpoint, prepared, ephemeralStorageMiB }: StartFacts): StartChoice => {
  if (wish === 'boot') return { way: 'boot', reason: 'asked for' }
  if (!hasCheckpoint) return { way: 'boot', reason: 'no usable checkpoint of the runtime' }
  // The size of /tmp is part of what was checkpointed.
  if (ephemeralStorageMiB !== defaultTmpMiB)
    return { way: 'boot', reason: `/tmp of ${ephemeralStorageMiB} MiB is not the checkpoint's` }
  const use = usable[wish].find((kind) => prepared[kind] > 0)
  if (use) return { way: 'restore', use, reason: why[use] }
  return { way: 'restore', reason: wish === 'auto' ? 'a checkpoint of the runtime is here' : 'asked for' }
}
