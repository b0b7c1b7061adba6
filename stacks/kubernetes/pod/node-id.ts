import { createHash } from 'node:crypto'

const maxLength = 64

/** Pure. Names of a cluster's nodes may have dots and 253 characters, ids may not: what is cut off is told apart by a digest. */
export const nodeIdOf = (installation: string, nodeName: string): string => {
  const plain = `${installation}-${nodeName.replaceAll('.', '-')}`
  if (plain.length <= maxLength && !nodeName.includes('.')) return plain
  const digest = createHash('sha256').update(nodeName).digest('hex').slice(0, 8)
  return `${plain.slice(0, maxLength - digest.length - 1)}-${digest}`
}
