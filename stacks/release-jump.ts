/**
 * From which version an installation may become which: pure. While hosts are changed one after another, neighbours speak the protocols of two
 * versions, and services understand the version beside their own (`services/contracts/protocol.ts`).
 */

export interface Jump {
  /** `major.minor.patch` that the last update began to make; absent: there is nothing yet. */
  readonly recorded?: string | undefined
  /** What the last update that came to its end made; another than `recorded` where one did not. */
  readonly completed?: string | undefined
  readonly next: string
}

const numbersOf = (version: string): number[] | undefined => /^(\d+)\.(\d+)\.\d+/.exec(version)?.slice(1).map(Number)

/** Of one major, at most one minor apart. What is no version is no obstacle. */
const isNear = (from: string | undefined, to: string): boolean => {
  const [a, b] = [numbersOf(from ?? ''), numbersOf(to)]
  return !a || !b || (a[0] === b[0] && Math.abs((a[1] ?? 0) - (b[1] ?? 0)) <= 1)
}

/** @returns why it is refused, and what to do */
export const jumpProblem = ({ recorded, completed, next }: Jump): string | undefined => {
  if (!isNear(recorded, next))
    return `the installation is ${recorded} and this is ${next}: more than one minor version at a time is refused. Bring up the versions between, one after another`
  if (completed !== recorded && !isNear(completed, next))
    return `the update from ${completed} to ${recorded} was not finished, and this is ${next}: finish it with ${recorded}, or go back to ${completed}`
  return undefined
}
