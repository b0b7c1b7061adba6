/** Cross-origin settings of a function URL: preflights are answered here, other answers get the headers of the settings. */
import { Value } from 'typebox/value'
import { Cors } from './url-record.ts'

export interface CorsQuestion {
  readonly method: string
  readonly origin: string | undefined
  /** `Access-Control-Request-Method`: its presence makes an OPTIONS request a preflight. */
  readonly requestMethod: string | undefined
}

export interface CorsAnswer {
  /** Answered without the function. */
  readonly preflight: boolean
  readonly headers: Readonly<Record<string, string>>
}

const unchanged: CorsAnswer = { preflight: false, headers: {} }

/** Without settings the function speaks for itself, preflights included. */
export const answerCors = (settings: unknown, { method, origin, requestMethod }: CorsQuestion): CorsAnswer => {
  if (settings === undefined || !Value.Check(Cors, settings)) return unchanged
  const preflight = method === 'OPTIONS' && requestMethod !== undefined
  if (origin === undefined) return { preflight, headers: { vary: 'Origin' } }
  const { AllowOrigins, AllowCredentials, AllowMethods, AllowHeaders, ExposeHeaders, MaxAge } = settings
  const any = AllowOrigins?.includes('*') ?? false
  if (!any && !AllowOrigins?.some((allowed) => allowed.toLowerCase() === origin.toLowerCase()))
    return { preflight, headers: { vary: 'Origin' } }
  const common = {
    'access-control-allow-origin': any ? '*' : origin,
    ...(any ? {} : { vary: 'Origin' }),
    ...(AllowCredentials ? { 'access-control-allow-credentials': 'true' } : {}),
  }
  if (!preflight) return { preflight, headers: { ...common, ...list('access-control-expose-headers', ExposeHeaders) } }
  return {
    preflight,
    headers: {
      ...common,
      ...list('access-control-allow-methods', AllowMethods),
      ...list('access-control-allow-headers', AllowHeaders),
      ...(typeof MaxAge === 'number' ? { 'access-control-max-age': String(MaxAge) } : {}),
    },
  }
}

const list = (name: string, values: readonly string[] | null | undefined): Record<string, string> =>
  values && values.length > 0 ? { [name]: values.join(', ') } : {}
