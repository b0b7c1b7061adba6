/** The token of the internal hops. */
import { equalSecrets } from './equal-secrets.ts'

/** `authorization: Bearer <token>`, compared in constant time. */
export const isBearer = (header: string | undefined, token: string): boolean =>
  equalSecrets(header ?? '', `Bearer ${token}`)
