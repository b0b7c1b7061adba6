/** The token of the internal hops. */
import { timingSafeEqual } from 'node:crypto'

/** `authorization: Bearer <token>`, compared in constant time. */
export const isBearer = (header: string | undefined, token: string): boolean => {
  const wanted = Buffer.from(`Bearer ${token}`)
  const given = Buffer.from(header ?? '')
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}
