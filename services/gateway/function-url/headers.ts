/** Headers of one connection do not travel on. https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** The names above, and those that a `Connection` header adds. */
export const isHopByHop = (connection: string | undefined): ((name: string) => boolean) => {
  const named = new Set(
    (connection ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  )
  return (name) => hopByHop.has(name) || named.has(name)
}

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
