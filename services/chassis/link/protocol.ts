/** Names of a link's handshake. */
export const linkProtocol = 'forkyard-link'

export const linkHeaders = {
  /** Comma-separated numbers, of the caller's or, in a 426, of the callee's. */
  versions: 'forkyard-link-versions',
  /** The one that is spoken. */
  version: 'forkyard-link-version',
} as const

export interface LinkProtocol {
  readonly path: string
  /** All that this release speaks: its own and the one before. */
  readonly versions: readonly number[]
}
