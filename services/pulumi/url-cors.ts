/** CORS settings of a function URL: in the resource's words and in those of the Lambda API. */
import type { Cors } from '@aws-sdk/client-lambda'
import { Type, type Static } from 'typebox'

const list = Type.Optional(Type.Array(Type.String(), { maxItems: 100 }))

export const UrlCors = Type.Object(
  {
    allowCredentials: Type.Optional(Type.Boolean()),
    allowHeaders: list,
    allowMethods: list,
    allowOrigins: list,
    exposeHeaders: list,
    /** Seconds. */
    maxAge: Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400 })),
  },
  { additionalProperties: false },
)
export type UrlCors = Static<typeof UrlCors>

const renamed = (settings: object, rename: (first: string) => string): object =>
  Object.fromEntries(
    Object.entries(settings)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([key, value]) => [`${rename(key.slice(0, 1))}${key.slice(1)}`, value]),
  )

export const toLambdaCors = (settings: UrlCors): Cors => renamed(settings, (first) => first.toUpperCase())

export const fromLambdaCors = (settings: Cors): UrlCors => renamed(settings, (first) => first.toLowerCase())
