/** W3C Trace Context: the caller's, or a new one. https://www.w3.org/TR/trace-context/ */
import { randomBytes } from 'node:crypto'

const valid = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

export const traceparentOf = (header: string | string[] | undefined): string =>
  typeof header === 'string' && valid.test(header)
    ? header
    : `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`
