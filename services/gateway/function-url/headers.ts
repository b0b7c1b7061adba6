import { isHopByHop } from '../../chassis/hop-by-hop.ts'

export interface Forwarding {
  readonly sourceIp: string
  readonly proto: string
  readonly port: string
  readonly traceparent: string
  /** The caller's credentials are for the platform and end here. */
  readonly dropCredentials: boolean
}

const own = new Set(['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-port', 'traceparent', 'expect'])

/** As the handler sees them: names in lower case, in order. */
export const forwardedHeaders = (
  raw: readonly string[],
  connection: string | undefined,
  { sourceIp, proto, port, traceparent, dropCredentials }: Forwarding,
): [string, string][] => {
  const dropped = isHopByHop(connection)
  const headers: [string, string][] = []
  const before: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase()
    const value = raw[i + 1] ?? ''
    if (name === 'x-forwarded-for') before.push(value)
    if (dropped(name) || own.has(name)) continue
    if (dropCredentials && (name === 'authorization' || name === 'x-amz-security-token')) continue
    headers.push([name, value])
  }
  headers.push(
    ['x-forwarded-for', [...before, sourceIp].join(', ')],
    ['x-forwarded-proto', proto],
    ['x-forwarded-port', port],
    ['traceparent', traceparent],
  )
  return headers
}
