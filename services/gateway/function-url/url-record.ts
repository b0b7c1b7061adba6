/** Pure changes of a function's URLs. */
import { randomBytes } from 'node:crypto'
import { Type, type Static } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { functionArn, latest, type FunctionRecord, type UrlRecord } from '../../contracts/function.ts'
import { isVersionNumber } from '../function-name.ts'

const list = <T extends Type.TSchema>(items: T, maxItems: number) =>
  Type.Optional(Type.Union([Type.Array(items, { maxItems }), Type.Null()]))
const header = Type.String({ maxLength: 1024, pattern: "^(\\*|[!#$%&'*+.^_`|~0-9A-Za-z-]+)$" })

export const Cors = Type.Object({
  AllowCredentials: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  AllowHeaders: list(header, 100),
  AllowMethods: list(Type.Enum(['GET', 'PUT', 'HEAD', 'POST', 'PATCH', 'DELETE', '*']), 6),
  AllowOrigins: list(Type.String({ minLength: 1, maxLength: 253, pattern: '^(\\*|[a-z]+://[^\\s,/]+)$' }), 100),
  ExposeHeaders: list(header, 100),
  MaxAge: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 86_400 }), Type.Null()])),
})
export type Cors = Static<typeof Cors>

export interface UrlChange {
  readonly authType?: UrlRecord['authType'] | undefined
  readonly invokeMode?: UrlRecord['invokeMode'] | undefined
  /** An empty one removes the settings. */
  readonly cors?: Cors | undefined
}

/** The key in `urls`. @throws PlatformError INVALID_REQUEST for a version, NOT_FOUND for an alias that is none. */
export const urlQualifier = (record: FunctionRecord, qualifier: string | undefined, region: string): string => {
  if (qualifier === undefined || qualifier === latest) return latest
  if (isVersionNumber(qualifier))
    throw new PlatformError('INVALID_REQUEST', 'A function URL belongs to $LATEST or an alias, not to a version')
  if (Object.hasOwn(record.aliases, qualifier)) return qualifier
  throw new PlatformError(
    'NOT_FOUND',
    `Function not found: ${functionArn(region, record.tenant, record.name, qualifier)}`,
  )
}

/** @throws PlatformError NOT_FOUND */
export const urlOf = (record: FunctionRecord, qualifier: string): UrlRecord => {
  const url = Object.hasOwn(record.urls, qualifier) ? record.urls[qualifier] : undefined
  if (url) return url
  throw new PlatformError('NOT_FOUND', 'The resource you requested does not exist.')
}

export const withUrl = (
  record: FunctionRecord,
  qualifier: string,
  before: UrlRecord | undefined,
  change: UrlChange,
): FunctionRecord => {
  const now = new Date().toISOString()
  const cors = change.cors === undefined ? before?.cors : givenCors(change.cors)
  const url: UrlRecord = {
    urlId: before?.urlId ?? newUrlId(),
    authType: change.authType ?? before?.authType ?? 'AWS_IAM',
    invokeMode: change.invokeMode ?? before?.invokeMode ?? 'BUFFERED',
    ...(cors && Object.keys(cors).length > 0 ? { cors } : {}),
    creationTime: before?.creationTime ?? now,
    lastModified: now,
  }
  return { ...record, urls: { ...record.urls, [qualifier]: url } }
}

export const withoutUrl = (record: FunctionRecord, qualifier: string): FunctionRecord => {
  urlOf(record, qualifier)
  const { [qualifier]: _url, ...urls } = record.urls
  return { ...record, urls }
}

const givenCors = (cors: Cors): Record<string, unknown> => {
  if (cors.AllowCredentials === true && cors.AllowOrigins?.includes('*'))
    throw new PlatformError('INVALID_REQUEST', 'AllowCredentials is not supported when AllowOrigins is *')
  return Object.fromEntries(Object.entries(cors).filter(([, value]) => value !== null))
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

/** 32 characters of a DNS label, five random bits each. */
const newUrlId = (): string => Array.from(randomBytes(32), (byte) => alphabet[byte & 31]).join('')
