/**
 * Requests of functions to bound HTTP origins and S3-compatible stores: sent on to the binding's origin and nowhere else, with the binding's
 * credentials in place of the function's. Bodies are streamed both ways.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { Agent } from 'undici'
import type { BindingRecord } from '../../contracts/audit.ts'
import { bindingHost, type HttpBinding, type S3Binding } from '../../contracts/bindings.ts'
import { ChunkError } from './aws-chunked.ts'
import type { Reach } from './reach.ts'
import { answeredHeaders, bodyOf, passedHeaders, RefusedRequest, targetOf, type Onward } from './onward.ts'
import { signS3 } from './s3-request.ts'

/** One request of a function. */
export interface BoundCall {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Of the binding. */
  readonly name: string
  readonly binding: HttpBinding | S3Binding
  readonly used: Used
}

/** It goes on, or may not. @param more of the record */
export type Used = (verdict: 'used' | 'refused', more?: Pick<BindingRecord, 'calledInvocationId'>) => void

export interface HttpForwarder {
  /** Never rejects: what goes wrong is the function's answer. */
  forward(call: BoundCall): Promise<void>
  close(): Promise<void>
}

/** Connections are shared by all functions: credentials are the request's, not the connection's. */
export const createHttpForwarder = (reach: Reach): HttpForwarder => {
  const agents = new Map<number, Agent>()
  /** One for each port, because what may be reached depends on it. */
  const agentFor = (port: number): Agent => {
    const known = agents.get(port)
    if (known) return known
    const agent = new Agent({ ...agentOptions, connect: { timeout: 5_000, lookup: reach.lookup(port) } })
    agents.set(port, agent)
    return agent
  }
  const dispatcherOf = ({ protocol, hostname, port }: URL): Agent => {
    const number = Number(port || (protocol === 'https:' ? 443 : 80))
    reach.check(hostname, number)
    return agentFor(number)
  }
  return {
    forward: (call) => forward(dispatcherOf, call),
    close: async () => void (await Promise.all([...agents.values()].map((agent) => agent.destroy()))),
  }
}

const agentOptions = {
  headersTimeout: 60_000,
  bodyTimeout: 300_000,
  keepAliveTimeout: 4_000,
  connections: 64,
}

const forward = async (dispatcherOf: (url: URL) => Agent, call: BoundCall): Promise<void> => {
  const { request, response, name, binding, used } = call
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  try {
    const onward = binding.type === 's3' ? await signS3(request, name, binding) : onwardOf(request, binding)
    const reply = await dispatcherOf(onward.url).request({
      origin: onward.url.origin,
      path: `${onward.url.pathname}${onward.url.search}`,
      method: onward.method,
      headers: onward.headers,
      body: onward.body ?? null,
      signal: gone.signal,
    })
    used('used')
    response.writeHead(reply.statusCode, answerHeaders(reply.headers, onward.url, name))
    await pipeline(reply.body, response)
  } catch (error) {
    if (gone.signal.aborted || response.headersSent) return void response.destroy()
    const [status, message] = problemOf(error, name)
    if (status === 403) used('refused')
    refuse(response, status, message)
  }
}

/** The function's own mistakes are told apart from the origin's. */
const problemOf = (error: unknown, name: string): [status: number, message: string] => {
  if (error instanceof RefusedRequest) return [error.status, error.message]
  const { code } = error as NodeJS.ErrnoException
  if (error instanceof ChunkError || code === 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH')
    return [400, `binding ${name}: the body is not what its headers say`]
  if (code === 'FORKYARD_UNREACHABLE') return [403, `binding ${name}: it leads where functions may not go`]
  return [502, `binding ${name}: it cannot be reached`]
}

/** @param message for the function's author */
export const refuse = (response: ServerResponse, status: number, message: string): void => {
  const body = Buffer.from(`${JSON.stringify({ message })}\n`)
  const headers = { 'content-type': 'application/json', 'content-length': body.length, connection: 'close' }
  response.writeHead(status, headers).end(body)
}

const onwardOf = (request: IncomingMessage, { url, headers = {} }: HttpBinding): Onward => {
  const own = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  return {
    method: request.method ?? 'GET',
    url: targetOf(request, new URL(url)),
    headers: { ...passedHeaders(request, new Set(Object.keys(own))), ...own },
    body: bodyOf(request),
  }
}

/** A redirect within the origin stays within the binding; one to elsewhere is followed without it, if the function may at all. */
const answerHeaders = (
  headers: Record<string, string | string[] | undefined>,
  asked: URL,
  name: string,
): Record<string, string | string[]> => {
  const passed = answeredHeaders(headers)
  const location = passed['location']
  if (typeof location === 'string' && URL.canParse(location, asked.href)) {
    const to = new URL(location, asked.href)
    if (to.origin === asked.origin)
      passed['location'] = `http://${bindingHost(name)}${to.pathname}${to.search}${to.hash}`
  }
  return passed
}
