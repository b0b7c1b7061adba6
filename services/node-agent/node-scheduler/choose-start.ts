/** How a new instance is made: pure, so that it can be tested and explained. */
import type { StartWish } from '../../contracts/placement.ts'
import { defaultTmpMiB } from '../sandbox/bundle.ts'

export interface StartFacts {
  readonly wish: StartWish
  /** A checked checkpoint of the runtime is here. */
  readonly hasCheckpoint: boolean
  /** Created sandboxes of the runtime that wait for use. */
  readonly precreated: number
  readonly ephemeralStorageMiB: number
}

export interface StartChoice {
  readonly way: 'restore' | 'boot'
  readonly usePrecreated: boolean
  readonly reason: string
}

const boot = (reason: string): StartChoice => ({ way: 'boot', usePrecreated: false, reason })

export const chooseStart = (facts: StartFacts): StartChoice => {
  if (facts.wish === 'boot') return boot('asked for')
  if (!facts.hasCheckpoint) return boot('no usable checkpoint of the runtime')
  // The size of /tmp is part of what was checkpointed.
  if (facts.ephemeralStorageMiB !== defaultTmpMiB)
    return boot(`/tmp of ${facts.ephemeralStorageMiB} MiB is not the checkpoint's`)
  if (facts.wish === 'restore') return { way: 'restore', usePrecreated: false, reason: 'asked for' }
  return facts.precreated > 0
    ? { way: 'restore', usePrecreated: true, reason: 'a created sandbox waits' }
    : { way: 'restore', usePrecreated: false, reason: 'a checkpoint of the runtime is here' }
}
