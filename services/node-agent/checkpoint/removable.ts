/** Which checkpoints of versions are not kept: pure. */
import type { StoredCheckpoint } from './version-store.ts'

export interface KeepLimits {
  readonly bytes: number
  readonly unusedMs: number
}

export type RemovalReason = 'replaced' | 'unused' | 'room'

/** @param current keys whose revision the registry still has. Over the budget, what was used longest ago goes first. */
export const removable = (
  stored: readonly StoredCheckpoint[],
  current: ReadonlySet<string>,
  { bytes, unusedMs }: KeepLimits,
  now: number,
): { checkpoint: StoredCheckpoint; reason: RemovalReason }[] => {
  let left = bytes
  const reasonFor = ({ key, usedAt, bytes: size }: StoredCheckpoint): RemovalReason | undefined => {
    if (!current.has(key)) return 'replaced'
    if (now - usedAt > unusedMs) return 'unused'
    if (size > left) return 'room'
    left -= size
    return undefined
  }
  return stored
    .toSorted((a, b) => b.usedAt - a.usedAt)
    .flatMap((checkpoint) => {
      const reason = reasonFor(checkpoint)
      return reason === undefined ? [] : [{ checkpoint, reason }]
    })
}
