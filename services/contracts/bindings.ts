/**
 * What a function uses, by a name that it calls `http://NAME.internal` or connects to: no address, account or password is the function's.
 * Layer 4 opens exactly that; the node's proxy authenticates at layer 7.
 */
import { Type, type Static } from 'typebox'
import { NamePattern, PortOrRange } from './network.ts'

/** In a binding's name, a label of DNS (RFC 1123). */
export const bindingNamePattern = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'

/** Suffix of the names that functions use. */
export const bindingDomain = 'internal'

export const bindingHost = (name: string): string => `${name}.${bindingDomain}`

/** On which bindings are reached, and where a PostgreSQL server is that names no port. */
export const httpPort = 80
export const postgresPort = 5432

const Port = Type.Integer({ minimum: 1, maximum: 65_535 })
const Host = Type.String({ minLength: 1, maxLength: 253, pattern: '^[A-Za-z0-9.:-]+$' })
const Secret = Type.String({ minLength: 1, maxLength: 4096 })
const strict = { additionalProperties: false } as const

/** One origin; whatever path is asked for is below the URL's. */
export const HttpBinding = Type.Object(
  {
    type: Type.Literal('http'),
    url: Type.String({ maxLength: 2048, pattern: '^https?://' }),
    /** Added to every request, over the function's own of the same name: an API's key or token. Secret. */
    headers: Type.Optional(Type.Record(Type.String({ pattern: '^[A-Za-z0-9-]{1,128}$' }), Secret)),
  },
  strict,
)

/** An S3-compatible store. Requests are signed with these keys, whatever the function's client signed with. */
export const S3Binding = Type.Object(
  {
    type: Type.Literal('s3'),
    endpoint: Type.String({ maxLength: 2048, pattern: '^https?://[^/?#]+/?$' }),
    region: Type.String({ pattern: '^[a-z0-9-]{1,64}$' }),
    /** The only one that may be used; absent: all that the keys open. */
    bucket: Type.Optional(Type.String({ pattern: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$' })),
    accessKeyId: Secret,
    secretAccessKey: Secret,
  },
  strict,
)

/** A PostgreSQL server: every session is this user's in this database, whatever the function's client asked for. */
export const PostgresBinding = Type.Object(
  {
    type: Type.Literal('postgresql'),
    host: Host,
    port: Type.Optional(Port),
    database: Type.String({ minLength: 1, maxLength: 63 }),
    user: Type.String({ minLength: 1, maxLength: 63 }),
    password: Secret,
    /** `verify-full` by default: the server's certificate must be its host's. */
    tls: Type.Optional(Type.Enum(['verify-full', 'disable'] as const)),
    /** PEM, for a server whose certificate no public authority issued. */
    ca: Type.Optional(Type.String({ maxLength: 65_536 })),
  },
  strict,
)

/** Another function: what is asked of it becomes an HTTP invocation in the name of this one. */
export const FunctionBinding = Type.Object(
  {
    type: Type.Literal('function'),
    /** As the Lambda API takes it: a name or an ARN, each with `:alias` or `:version` or without. */
    function: Type.String({ minLength: 1, maxLength: 256, pattern: '^[A-Za-z0-9:_$-]+$' }),
    qualifier: Type.Optional(Type.String({ pattern: String.raw`^(\$LATEST|[a-zA-Z0-9-_]{1,128})$` })),
  },
  strict,
)

const protocols = ['tcp', 'udp', 'any'] as const
const Ports = Type.Optional(Type.Array(PortOrRange, { minItems: 1, maxItems: 100 }))
const Protocol = Type.Optional(Type.Enum(protocols))

/** Every address that is routed publicly, and every name: no private subnet. Has no name of its own. */
export const InternetBinding = Type.Object(
  {
    type: Type.Literal('internet'),
    /** `443` or `"8000-8080"`. Absent: all. */
    ports: Ports,
    /** Default `tcp`. */
    protocol: Protocol,
  },
  strict,
)

/** Addresses that the node routes: a private subnet. Has no name of its own. */
export const SubnetBinding = Type.Object(
  {
    type: Type.Literal('subnet'),
    /** `10.1.0.0/16`, `fd00:1::/64`. */
    cidrs: Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: 64 }),
    ports: Ports,
    protocol: Protocol,
    /** Names that may be resolved: resolving opens nothing. */
    dns: Type.Optional(Type.Array(NamePattern, { minItems: 1, maxItems: 64 })),
  },
  strict,
)

export const Binding = Type.Union([
  HttpBinding,
  S3Binding,
  PostgresBinding,
  FunctionBinding,
  InternetBinding,
  SubnetBinding,
])
export type HttpBinding = Static<typeof HttpBinding>
export type S3Binding = Static<typeof S3Binding>
export type PostgresBinding = Static<typeof PostgresBinding>
export type FunctionBinding = Static<typeof FunctionBinding>
export type InternetBinding = Static<typeof InternetBinding>
export type SubnetBinding = Static<typeof SubnetBinding>
export type Binding = Static<typeof Binding>

/** One that is reached at the node's proxy; the others open addresses as they are. */
export type ProxiedBinding = HttpBinding | S3Binding | PostgresBinding | FunctionBinding

export const isProxied = (binding: Binding): binding is ProxiedBinding =>
  binding.type !== 'internet' && binding.type !== 'subnet'

export const Bindings = Type.Record(Type.String({ pattern: bindingNamePattern }), Binding, {
  maxProperties: 16,
  additionalProperties: false,
})
export type Bindings = Static<typeof Bindings>

/** Of a function: at most so many, since each has an address of its own on the node. */
export const maxBindings = 16

/** Bucket `network`, key `<tenant>.<name>.bindings`, sealed for `bindings.<tenant>.<name>`. */
export const BoundRecord = Type.Object(
  {
    bindings: Bindings,
    /** Number of each proxied binding's address on every node, 0 to 15; a name keeps its number. */
    addresses: Type.Record(Type.String(), Type.Integer({ minimum: 0, maximum: maxBindings - 1 })),
  },
  strict,
)
export type BoundRecord = Static<typeof BoundRecord>

/** As they lie in the bucket. Those that were taken away leave their number, as network policies do. */
export const StoredBindings = Type.Object(
  {
    sealed: Type.Union([Type.String(), Type.Null()]),
    /** ISO 8601. */
    lastModified: Type.String(),
    /** Higher with each change: the time in epoch milliseconds, or one more than before. */
    serial: Type.Integer({ minimum: 0 }),
    /** Of the installation (`chassis/signing.ts`), for `networkPlace`. */
    signature: Type.Optional(Type.String()),
  },
  strict,
)
export type StoredBindings = Static<typeof StoredBindings>

/** As they were in versions that neither signed nor counted. */
export const UnsignedBindings = Type.Object({ sealed: Type.String(), lastModified: Type.String() }, strict)

/** Port on which a binding is reached at its name. */
export const bindingPort = ({ type }: ProxiedBinding): number => (type === 'postgresql' ? postgresPort : httpPort)

/** What the record of a function is sealed for. */
export const bindingsPlace = (tenant: string, name: string): string => `bindings.${tenant}.${name}`

/** Where it leads, without what opens it. */
export const bindingTarget = (binding: Binding): string => {
  switch (binding.type) {
    case 'http':
      return binding.url
    case 's3':
      return binding.bucket === undefined ? binding.endpoint : `${binding.endpoint}/${binding.bucket}`
    case 'postgresql':
      return `${binding.host}:${binding.port ?? postgresPort}/${binding.database}`
    case 'function':
      return binding.qualifier === undefined ? binding.function : `${binding.function}:${binding.qualifier}`
    default:
      return [...(binding.type === 'subnet' ? binding.cidrs : []), openedOf(binding)].join(' ')
  }
}

const openedOf = ({ protocol = 'tcp', ports }: InternetBinding | SubnetBinding): string =>
  ports ? `${protocol} ${ports.join(',')}` : protocol
