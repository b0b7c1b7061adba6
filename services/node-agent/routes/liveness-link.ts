/** Hop in from the gateways: links on which nothing is said but signs of life. */
import type { Session } from '../../chassis/link/accept.ts'
import { PlatformError } from '../../contracts/errors.ts'

export const livenessSession: Session = {
  handle: () => {
    throw new PlatformError('INVALID_REQUEST', 'nothing is said on this link')
  },
}
