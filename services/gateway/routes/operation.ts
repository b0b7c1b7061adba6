/** One operation of the API: what it takes, what it answers, and the steps that are the same for all. */
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { Type, type Static, type TSchema } from 'typebox'
import { errorTable, type ErrorCode } from '../../contracts/errors.ts'
import type { GatewayDeps } from '../deps.ts'
import { authorizer } from './authorize.ts'
import { authenticator, type BodyKind, type Caller } from './authenticate.ts'
import { compileSchema } from './validate.ts'

export interface Call<P, Q, B> {
  readonly caller: Caller
  readonly params: P
  readonly query: Q
  readonly body: B
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

export interface Operation<P extends TSchema, Q extends TSchema, B extends TSchema> {
  /** AWS's name of the operation, or ours in the same form. */
  readonly id: string
  readonly summary: string
  readonly method: HTTPMethods
  readonly url: string
  readonly params?: P
  readonly query?: Q
  readonly headers?: TSchema
  readonly body?: B
  /** How the body is read: JSON of limits.requestBytes, JSON with a zip, or the payload of an invocation. */
  readonly bodyKind?: BodyKind
  readonly status: number
  /** Absent: no content. */
  readonly reply?: TSchema
  readonly replyType?: string
  /** Beyond those of every operation. */
  readonly errors?: readonly ErrorCode[]
  /** Further statuses without a body. */
  readonly empty?: Readonly<Record<number, string>>
  /** What it returns is sent with `status`; it returns the reply itself when it has sent it. */
  readonly handle: (call: Call<Static<P>, Static<Q>, Static<B>>) => Promise<unknown>
}

// oxlint-disable-next-line typescript/no-explicit-any -- a list holds operations of all shapes
export type AnyOperation = Operation<any, any, any>

/** Infers the shapes. */
export const operation = <P extends TSchema, Q extends TSchema, B extends TSchema>(
  one: Operation<P, Q, B>,
): AnyOperation => one

const everywhere: readonly ErrorCode[] = [
  'INVALID_REQUEST',
  'MISSING_AUTHENTICATION',
  'FORBIDDEN',
  'NOT_FOUND',
  'TOO_MANY_REQUESTS',
  'INTERNAL',
  'UNAVAILABLE',
]

export const ErrorBody = Type.Object({
  Type: Type.Optional(Type.String()),
  __type: Type.String(),
  Message: Type.String(),
  message: Type.String(),
  Details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
})

const errorReplies = (codes: readonly ErrorCode[]): Record<number, TSchema> => {
  const byStatus = new Map<number, Set<string>>()
  for (const code of codes) {
    const { status, awsType } = errorTable[code]
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(awsType))
  }
  return Object.fromEntries(
    [...byStatus].map(([status, types]) => [status, { ...ErrorBody, description: [...types].join(', ') }]),
  )
}

const described = (schema: TSchema, description: string, type: string): unknown => ({
  description,
  content: { [type]: { schema } },
})

export const registerOperations = (app: FastifyInstance, deps: GatewayDeps, list: readonly AnyOperation[]): void => {
  const { authenticate, readAndVerify } = authenticator(deps)
  for (const one of list) {
    const { id, method, url, params, query, headers, body, status, reply, replyType, empty = {} } = one
    const bodyKind = one.bodyKind ?? (body ? 'json' : 'none')
    const codes: ErrorCode[] = [...everywhere, ...(one.errors ?? [])]
    if (bodyKind !== 'none') codes.push('REQUEST_TOO_LARGE')
    if (method !== 'GET') codes.push('STORAGE_FULL')
    app.route({
      method,
      url,
      config: { operation: id, bodyKind },
      schema: {
        operationId: id,
        summary: one.summary,
        tags: [url.startsWith('/forkyard/') ? 'Forkyard' : 'Lambda'],
        ...(params ? { params } : {}),
        ...(query ? { querystring: query } : {}),
        ...(headers ? { headers } : {}),
        ...(body ? { body } : {}),
        response: {
          ...errorReplies(codes),
          ...Object.fromEntries(Object.entries(empty).map(([code, why]) => [code, Type.Null({ description: why })])),
          [status]: reply
            ? described(reply, one.summary, replyType ?? 'application/json')
            : Type.Null({ description: 'done' }),
        },
      },
      onRequest: authenticate,
      preValidation: [readAndVerify, authorizer(deps, id)],
      handler: async (request, response) => {
        const caller = request.caller
        if (!caller) throw new Error(`${id} was reached without authentication`)
        const call = {
          caller,
          params: request.params,
          query: request.query,
          body: request.body,
          request,
          reply: response,
        }
        const value = await one.handle(call)
        if (value === response || response.sent) return response
        return response.code(status).send(value)
      },
    })
  }
}

/** Schemas are checked by TypeBox, replies are sent as they are: neither strips or coerces silently. */
export const useSchemas = (app: FastifyInstance): void => {
  app.setValidatorCompiler(({ schema, httpPart }) => compileSchema(schema as TSchema, httpPart))
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
}
