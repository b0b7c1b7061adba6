/**
 * What services of different versions of the stack understand of each other. During an upgrade neighbours are one version apart, never more:
 * whoever is newer speaks so that the one before understands it, and whoever is asked refuses what is further away than that.
 */
import { PlatformError } from './errors.ts'

/** Raised by one with the first change that the version before could not have understood. */
export const protocolVersion = 1

/** With every request of an internal hop over HTTP, and every report over NATS. */
export const protocolHeader = 'forkyard-protocol'

const skew = 1

/**
 * @param given value of the header; absent: 1, whose first services did not say it
 * @param own for tests
 * @throws PlatformError UNSUPPORTED_PROTOCOL, with both versions in its details
 */
export const requireKnownProtocol = (given: string | undefined, own = protocolVersion): void => {
  const theirs = given === undefined ? 1 : /^[1-9]\d{0,5}$/.test(given) ? Number(given) : undefined
  if (theirs !== undefined && Math.abs(theirs - own) <= skew) return
  throw new PlatformError(
    'UNSUPPORTED_PROTOCOL',
    `this service speaks protocol ${own} and understands ${Math.max(1, own - skew)} to ${own + skew}; it was spoken to in ${given ?? 1}`,
    { own, theirs: theirs ?? given },
  )
}

/** Of a caller. */
export const protocolHeaders: Readonly<Record<string, string>> = { [protocolHeader]: String(protocolVersion) }
