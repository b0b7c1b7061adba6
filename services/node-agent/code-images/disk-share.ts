/** Which code images make room for others. Pure but for the last line. */
import { statfs } from 'node:fs/promises'

export interface StoredImage {
  readonly digest: string
  readonly bytes: number
  /** Epoch milliseconds. */
  readonly usedAt: number
}

/** What was used so lately may be on its way into a sandbox. */
export const graceMs = 10 * 60_000
/** Of its file system, that what nobody has asked for yet leaves free. */
const leftFree = 0.1

const sum = (images: readonly StoredImage[]): number => images.reduce((total, { bytes }) => total + bytes, 0)

/** Those that go so that what stays has no more than so many bytes: used longest ago first, none that is in use. */
export const toRemove = (images: readonly StoredImage[], budgetBytes: number, now: number): StoredImage[] => {
  let over = sum(images) - budgetBytes
  const removed: StoredImage[] = []
  for (const image of images.toSorted((a, b) => a.usedAt - b.usedAt)) {
    if (over <= 0 || now - image.usedAt < graceMs) break
    removed.push(image)
    over -= image.bytes
  }
  return removed
}

/** One more would be within the budget once others have made room. */
export const fitsBudget = (images: readonly StoredImage[], bytes: number, budgetBytes: number, now: number): boolean =>
  bytes + sum(images.filter(({ usedAt }) => now - usedAt < graceMs)) <= budgetBytes

export const fitsDisk = async (dir: string, bytes: number): Promise<boolean> => {
  const { bavail, blocks, bsize } = await statfs(dir)
  return bavail * bsize - bytes >= blocks * bsize * leftFree
}
