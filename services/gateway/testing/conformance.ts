/** Holds every reply of a gateway against its OpenAPI document. */
import type { FastifyInstance } from 'fastify'
import { Compile } from 'typebox/compile'

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>
}
export interface DocumentedOperation {
  readonly operationId: string
  readonly parameters?: readonly { in: string; name: string; required: boolean; schema: object }[]
  readonly requestBody?: { content: Readonly<Record<string, { schema: object }>> }
  readonly responses: Readonly<Record<string, { content?: Readonly<Record<string, { schema: object }>> }>>
}

/** @returns what did not fit so far: statuses and bodies that are not documented. */
export const watchConformance = (app: FastifyInstance): string[] => {
  const problems: string[] = []
  const operations = new Map<string, DocumentedOperation>()
  app.addHook('onSend', async (request, reply, payload) => {
    if (operations.size === 0) for (const one of operationsOf(app)) operations.set(one.operationId, one)
    const id = request.routeOptions.config.operation
    const documented = operations.get(id ?? '')?.responses[reply.statusCode]
    if (id === undefined) return payload
    if (!documented) problems.push(`${id}: ${reply.statusCode} is not documented`)
    const schema = documented?.content?.['application/json']?.schema
    if (!schema || typeof payload !== 'string') return payload
    for (const { instancePath, message } of Compile(schema).Errors(JSON.parse(payload)))
      problems.push(`${id} ${reply.statusCode} ${instancePath}: ${message}`)
    return payload
  })
  return problems
}

export const operationsOf = (app: FastifyInstance): (DocumentedOperation & { method: string; path: string })[] =>
  Object.entries((app.swagger() as unknown as Document).paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({ ...one, method: method.toUpperCase(), path })),
  )
