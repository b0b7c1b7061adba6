/** Requests over plain HTTP to the URL of a function, and what the fake node makes of them. */
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import {
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  type CreateFunctionUrlConfigCommandInput,
} from '@aws-sdk/client-lambda'
import { afterEach, beforeEach } from 'vitest'
import { preludeDelimiter, type HttpPrelude } from '../../contracts/node.ts'
import { permitUrl } from '../../cli/url-permission.ts'
import { answerWhole, httpAnswer, type NodeCall } from './fake-node.ts'
import { account, roleArn, startGateway, zipOf, type TestGateway } from './gateway.ts'
import { signHeaders } from './signed-head.ts'

export let gateway: TestGateway
export let host: string

/** A gateway with one function; `open` gives it a URL, and `host` is its host then. */
export const useFunctionUrl = (): void => {
  beforeEach(async () => {
    gateway = await startGateway({ limits: { urlBodyBytes: 1000, startBudgetMs: 100, stalledMs: 300 } })
    const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
    const command = { FunctionName: 'f', Role: roleArn, Handler: 'index.handler', Timeout: 1, Code }
    await gateway.client().send(new CreateFunctionCommand({ ...command, Runtime: 'nodejs24.x' }))
  })
  afterEach(() => gateway.close())
}

export const open = async (more: Partial<CreateFunctionUrlConfigCommandInput> = {}) => {
  const config = { FunctionName: 'f', AuthType: 'NONE', ...more } as const
  await permitUrl(gateway.client(), { FunctionName: 'f' }, config.AuthType)
  const { FunctionUrl } = await gateway.client().send(new CreateFunctionUrlConfigCommand(config))
  host = new URL(FunctionUrl ?? '').host
}

export interface Sent {
  method?: string
  headers?: OutgoingHttpHeaders
  body?: string | Buffer
  /** Leaves the request open for more. */
  keepOpen?: boolean
}
export const start = (path: string, { method = 'GET', headers = {}, body, keepOpen }: Sent = {}) => {
  const request = httpRequest({
    host: '127.0.0.1',
    port: gateway.port,
    method,
    path,
    headers: { host, ...headers },
    agent: false,
  })
  const response = new Promise<IncomingMessage>((resolve, reject) =>
    request.once('response', resolve).once('error', reject),
  )
  response.catch(() => undefined)
  if (keepOpen) request.flushHeaders()
  else request.end(body)
  return { request, response }
}
export const call = async (path: string, sent: Sent = {}) => {
  const response = await start(path, sent).response
  return { status: response.statusCode, headers: response.headers, body: (await buffer(response)).toString(), response }
}
export const received = async (one: NodeCall | undefined) => {
  const bytes = (await one?.body()) ?? Buffer.alloc(0)
  const at = bytes.indexOf(preludeDelimiter)
  return {
    prelude: JSON.parse(bytes.subarray(0, at).toString()) as HttpPrelude,
    body: bytes.subarray(at + 8).toString(),
  }
}
/** Answers with what it got. */
export const echo = async (one: NodeCall) => {
  const { prelude, body } = await received(one)
  await answerWhole(
    { ...one, body: async () => Buffer.alloc(0) },
    httpAnswer({ statusCode: 200, headers: {} }, JSON.stringify({ prelude, body })),
  )
}
export const answer =
  (prelude: unknown, body = '') =>
  (one: NodeCall) =>
    answerWhole(one, httpAnswer(prelude, body))

export const signed = async (body: string, credentials = account) =>
  signHeaders(gateway.port, 'POST', '/p?a=b', body, { host, credentials, headers: { 'x-app': '1' } })
export const preflight = (from: string) => ({
  method: 'OPTIONS',
  headers: { origin: from, 'access-control-request-method': 'GET' },
})

/** The next calls go to this host. */
export const useHost = (other: string): void => {
  host = other
}
