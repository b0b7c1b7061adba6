import { timingSafeEqual } from 'node:crypto'

/** In constant time for texts and bytes of the same length. */
export const equalSecrets = (given: string | Buffer, wanted: string | Buffer): boolean => {
  const [a, b] = [Buffer.from(given as string), Buffer.from(wanted as string)]
  return a.length === b.length && timingSafeEqual(a, b)
}
