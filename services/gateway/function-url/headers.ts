import { isHopByHop } from '../../chassis/hop-by-hop.ts'
import { callerHeaders, platformHeaderPrefix } from '../../contracts/calls.ts'
import type { CallingFunction } from '../../contracts/node.ts'

export interface Forwarding {
  readonly sourceIp: string
  readonly proto: string
  readonly port: string
  readonly traceparent: string
  /** The caller's credentials are for the platform and end here. */
  readonly dropCredentials: boolean
}

const own = new Set<string>([
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-port',
  'traceparent',
  'expect',
  ...Object.values(callerHeaders),
])

type Headers = [name: string, value: string][]

/** As the handler sees them: names in lower case, in order. */
export const forwardedHeaders = (
  raw: readonly string[],
  connection: string | undefined,
  { sourceIp, proto, port, traceparent, dropCredentials }: Forwarding,
): Headers => {
  const before = namedIn(raw).flatMap(([name, value]) => (name === 'x-forwarded-for' ? [value] : []))
  const headers = passedHeaders(raw, connection).filter(
    ([name]) => !dropCredentials || (name !== 'authorization' && name !== 'x-amz-security-token'),
  )
  return [
    ...headers,
    ['x-forwarded-for', [...before, sourceIp].join(', ')],
    ['x-forwarded-proto', proto],
    ['x-forwarded-port', port],
    ['traceparent', traceparent],
  ]
}

/** The same for a call of another function, which is told of it. */
export const calledHeaders = (
  raw: readonly string[],
  connection: string | undefined,
  { caller, traceparent }: { readonly caller: CallingFunction; readonly traceparent: string },
): Headers => [
  ...passedHeaders(raw, connection),
  [callerHeaders.arn, caller.arn],
  ...(caller.invocationId === undefined ? [] : ([[callerHeaders.invocation, caller.invocationId]] satisfies Headers)),
  ['traceparent', traceparent],
]

/** But those that only the platform says, and those of the connection. */
const passedHeaders = (raw: readonly string[], connection: string | undefined): Headers => {
  const dropped = isHopByHop(connection)
  return namedIn(raw).filter(([name]) => !dropped(name) && !own.has(name) && !name.startsWith(platformHeaderPrefix))
}

const namedIn = (raw: readonly string[]): Headers =>
  Array.from({ length: Math.floor(raw.length / 2) }, (_, at) => [
    (raw[at * 2] ?? '').toLowerCase(),
    raw[at * 2 + 1] ?? '',
  ])
