/** Hop in from the gateway: one request, answered when an instance has answered. */
import type { ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { Value } from 'typebox/value'
import { PlatformError } from '../../contracts/errors.ts'
import { invocationHeaders, replyHeaders } from '../../contracts/node.ts'
import { RevisionRef } from '../../contracts/placement.ts'
import type { InvocationReport } from '../../contracts/usage.ts'
import { maxEventBytes, type AnswerSink, type InvocationRequest } from '../node-gateway/invocation.ts'
import type { InvocationTaker } from '../node-gateway/node-gateway.ts'

export const registerInvocationRoutes = (app: FastifyInstance, gateway: InvocationTaker): void => {
  // A scope of its own: its bodies are streams, those of the other routes are JSON.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    scope.post<{ Params: { invocationId: string } }>('/v1/invocations/:invocationId', (request, reply) => {
      const body = (request.body as Readable | undefined) ?? request.raw
      const ask = request.headers[invocationHeaders.held] === '1' ? () => reply.raw.writeProcessing() : undefined
      const invocation = readRequest(request.params.invocationId, request.headers, body, ask)
      const cancel = gateway.invoke(invocation, answerTo(reply.raw, invocation.responseMode))
      reply.raw.once('close', cancel)
      reply.hijack()
    })
  })
}

type Headers = Readonly<Record<string, string | string[] | undefined>>

const invalid = (name: string): never => {
  throw new PlatformError('INVALID_REQUEST', `header ${name} is missing or malformed`, { header: name })
}

const readRequest = (
  invocationId: string,
  headers: Headers,
  body: Readable,
  askForRest: InvocationRequest['askForRest'],
): InvocationRequest => {
  const text = (name: string): string | undefined => {
    const value = headers[name]
    return typeof value === 'string' ? value : undefined
  }
  const integer = (name: string, fallback?: number): number => {
    const value = text(name) === undefined ? fallback : Number(text(name))
    return value !== undefined && Number.isSafeInteger(value) && value > 0 ? value : invalid(name)
  }
  let revision: unknown
  try {
    revision = JSON.parse(text(invocationHeaders.revision) ?? '')
  } catch {
    return invalid(invocationHeaders.revision)
  }
  if (!Value.Check(RevisionRef, revision)) return invalid(invocationHeaders.revision)
  const kind = text(invocationHeaders.kind)
  const mode = text(invocationHeaders.responseMode)
  return {
    invocationId: /^[A-Za-z0-9-]{1,64}$/.test(invocationId) ? invocationId : invalid('invocationId'),
    attempt: integer(invocationHeaders.attempt, 1),
    revision,
    deadlineAt: integer(invocationHeaders.deadlineAt),
    timeoutMs: integer(invocationHeaders.timeoutMs),
    kind: kind === 'event' || kind === 'http' ? kind : invalid(invocationHeaders.kind),
    responseMode: mode === 'buffered' || mode === 'stream' ? mode : invalid(invocationHeaders.responseMode),
    forced: text(invocationHeaders.forcedStart) === '1',
    ifIdle: text(invocationHeaders.ifIdle) === '1',
    functionArn: text(invocationHeaders.functionArn) ?? invalid(invocationHeaders.functionArn),
    clientContext: text(invocationHeaders.clientContext),
    traceparent: text(invocationHeaders.traceparent),
    ticket: text(invocationHeaders.ticket),
    bodyBytes: Math.min(Number(text('content-length') ?? maxEventBytes), maxEventBytes),
    body,
    askForRest,
  }
}

const encode = (report: InvocationReport): string => Buffer.from(JSON.stringify(report)).toString('base64')

const answerTo = (response: ServerResponse, mode: InvocationRequest['responseMode']): AnswerSink => {
  const trailer = `${replyHeaders.report}, ${replyHeaders.functionError}`
  const finish = (report: InvocationReport, functionError?: string): void => {
    response.addTrailers({
      [replyHeaders.report]: encode(report),
      ...(functionError === undefined ? {} : { [replyHeaders.functionError]: functionError }),
    })
    response.end()
  }
  // A caller that went away gets nothing more; the invocation itself goes on, and is billed.
  return {
    complete(body, contentType, report, functionError) {
      if (response.destroyed) return
      const error = functionError === undefined ? {} : { [replyHeaders.functionError]: functionError }
      if (mode === 'stream') {
        response.writeHead(200, { [replyHeaders.contentType]: contentType, ...error, trailer })
        response.write(body)
        return finish(report, functionError)
      }
      const length = { 'content-length': body.length, [replyHeaders.report]: encode(report) }
      response.writeHead(200, { [replyHeaders.contentType]: contentType, ...error, ...length }).end(body)
    },
    open(contentType) {
      if (response.destroyed) return
      response.writeHead(200, { [replyHeaders.contentType]: contentType, trailer })
      response.flushHeaders()
    },
    async write(bytes) {
      if (response.destroyed || response.write(bytes)) return
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      await once(response, 'drain', { signal: gone.signal }).catch(() => undefined)
    },
    finish(report, functionError) {
      if (!response.destroyed) finish(report, functionError)
    },
    fail(error) {
      if (response.destroyed) return
      const body = Buffer.from(JSON.stringify(error.toBody()))
      const headers = { 'content-type': 'application/json', 'content-length': body.length }
      response.writeHead(error.entry.status, headers).end(body)
    },
  }
}
