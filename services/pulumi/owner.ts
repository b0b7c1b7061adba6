/** Which resource of which stack a function belongs to, as a tag says it. */
import { createHash } from 'node:crypto'

const longestTag = 256

/** Pure. A URN that is too long for a tag is told by its SHA-256. */
export const ownerOf = (urn: string): string =>
  urn.length <= longestTag ? urn : `sha256:${createHash('sha256').update(urn).digest('hex')}`
