/** Function URLs: plain HTTP in front of `fetch` handlers, payload 2.0 in front of Lambda handlers. */
import { request } from 'node:http'
import {
  CreateFunctionUrlConfigCommand,
  type CreateFunctionUrlConfigCommandInput,
  DeleteFunctionUrlConfigCommand,
} from '@aws-sdk/client-lambda'
import { describe, expect, it } from 'vitest'
import { permitUrl } from '../../services/cli/url-permission.ts'
import { createFunction, lambdaClient, uniqueName } from '../support/lambda.ts'
import { installation } from './installation.ts'

const client = lambdaClient(installation())

interface Reply {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: string
  /** Of the chunks of the body, as they came. */
  readonly chunks: string[]
}

/** The URL's host resolves nowhere: the request goes to the gateway's address, with the host in its header. */
const call = async (
  url: string,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string | Buffer } = {},
): Promise<Reply> => {
  const { hostname, port } = new URL(installation().endpoint)
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const { method = 'GET', headers = {}, body } = options
  const sent = request({ hostname, port, path, method, headers: { ...headers, host: new URL(url).host } })
  sent.once('error', reject).once('response', (response) => {
    const chunks: string[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk.toString('latin1')))
    response.once('error', reject).once('end', () => {
      const { statusCode = 0, headers: got } = response
      resolve({ status: statusCode, headers: got, chunks, body: Buffer.from(chunks.join(''), 'latin1').toString() })
    })
  })
  sent.end(body)
  return promise
}

const online = async (
  source: string,
  url: Partial<CreateFunctionUrlConfigCommandInput> = {},
): Promise<{ name: string; url: string }> => {
  const name = uniqueName('url')
  const exported = ['handler', 'cloudEvent'].find((word) => source.includes(`export const ${word} `)) ?? 'default'
  await createFunction(client, name, source, { Handler: `index.${exported}` })
  const config = new CreateFunctionUrlConfigCommand({ FunctionName: name, AuthType: 'NONE', ...url })
  await permitUrl(client, { FunctionName: name }, 'NONE')
  return { name, url: (await client.send(config)).FunctionUrl ?? '' }
}

describe('a fetch handler behind a URL', () => {
  it('gets the request as it came and answers with status, headers and cookies of its own', async () => {
    const { url } = await online(`export default {
  async fetch(request) {
    const headers = new Headers({ 'x-method': request.method, 'content-type': 'text/plain; charset=utf-8' })
    headers.append('set-cookie', 'a=1; Path=/')
    headers.append('set-cookie', 'b=2')
    const { pathname, search } = new URL(request.url)
    return new Response([pathname, search, request.headers.get('x-in'), await request.text()].join('|'), { status: 201, headers })
  },
}`)
    const reply = await call(url, '/a%20b/c?x=1&x=2', { method: 'PUT', headers: { 'x-in': 'yes' }, body: 'größe' })
    expect(reply.body).toBe('/a%20b/c|?x=1&x=2|yes|größe')
    expect(reply.status).toBe(201)
    expect(reply.headers).toMatchObject({ 'x-method': 'PUT', 'set-cookie': ['a=1; Path=/', 'b=2'] })
  })

  it('passes bytes of a large body through unchanged, both ways', async () => {
    const { url } = await online(`export default { fetch: async (request) => new Response(request.body) }`, {
      InvokeMode: 'RESPONSE_STREAM',
    })
    const body = Buffer.alloc(3 * 1024 * 1024, 'forkyard')
    expect((await call(url, '/', { method: 'POST', body })).body).toBe(body.toString())
  })

  it('streams', async () => {
    const { url } = await online(
      `export default {
  fetch: async () => new Response(new ReadableStream({
    async start(controller) {
      for (const word of ['one ', 'two ', 'three']) {
        controller.enqueue(new TextEncoder().encode(word))
        await new Promise((resolve) => setTimeout(resolve, 300))
      }
      controller.close()
    },
  })),
}`,
      { InvokeMode: 'RESPONSE_STREAM' },
    )
    const reply = await call(url, '/')
    expect(reply.body).toBe('one two three')
    expect(reply.chunks.length).toBeGreaterThan(1)
  })

  it('answers HEAD without a body', async () => {
    const { url } = await online(
      `export default { fetch: async () => new Response('body', { headers: { 'x-is': 'here' } }) }`,
    )
    const reply = await call(url, '/', { method: 'HEAD' })
    expect(reply).toMatchObject({ status: 200, body: '', headers: { 'x-is': 'here' } })
  })

  it('that throws gives 502', async () => {
    const { url } = await online(`export default { fetch: async () => { throw new Error('secret detail') } }`)
    const reply = await call(url, '/')
    expect(reply.status).toBe(502)
    expect(reply.body).not.toContain('secret detail')
  })
})

describe('a Lambda handler behind a URL', () => {
  it('gets payload 2.0 and answers in its format', async () => {
    const { url } = await online(`export const handler = async (event) => ({
  statusCode: 202,
  headers: { 'x-version': event.version, 'content-type': 'application/json' },
  cookies: ['c=3'],
  body: JSON.stringify({ path: event.rawPath, query: event.queryStringParameters, body: event.body, cookies: event.cookies, method: event.requestContext.http.method }),
})`)
    const headers = { 'content-type': 'text/plain', cookie: 'x=1; y=2' }
    const reply = await call(url, '/p?q=1&q=2', { method: 'POST', headers, body: 'hi' })
    expect(reply.status).toBe(202)
    expect(reply.headers).toMatchObject({ 'x-version': '2.0', 'set-cookie': ['c=3'] })
    expect(JSON.parse(reply.body)).toEqual({
      path: '/p',
      query: { q: '1,2' },
      body: 'hi',
      cookies: ['x=1', 'y=2'],
      method: 'POST',
    })
  })

  it('may set status and headers of a streamed answer', async () => {
    const { url } = await online(
      `export const handler = awslambda.streamifyResponse(async (event, stream) => {
  const http = awslambda.HttpResponseStream.from(stream, { statusCode: 418, headers: { 'x-tea': 'pot' } })
  http.write('short ')
  http.end('and stout')
})`,
      { InvokeMode: 'RESPONSE_STREAM' },
    )
    expect(await call(url, '/')).toMatchObject({ status: 418, body: 'short and stout', headers: { 'x-tea': 'pot' } })
  })
})

describe('a CloudEvents handler behind a URL', () => {
  it('takes events in binary and in structured mode', async () => {
    const { url } = await online(
      `export const cloudEvent = async (event) => ({ id: event.id, type: event.type, data: event.data })`,
    )
    const json = { 'content-type': 'application/json' }
    const binary = await call(url, '/', {
      method: 'POST',
      headers: { ...json, 'ce-id': '1', 'ce-type': 't.x', 'ce-source': '/s', 'ce-specversion': '1.0' },
      body: '{"n":1}',
    })
    const structured = await call(url, '/', {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body: JSON.stringify({ id: '2', type: 't.y', source: '/s', specversion: '1.0', data: { n: 2 } }),
    })
    expect(JSON.parse(binary.body)).toEqual({ id: '1', type: 't.x', data: { n: 1 } })
    expect(JSON.parse(structured.body)).toEqual({ id: '2', type: 't.y', data: { n: 2 } })
  })
})

describe('access', () => {
  it('to a URL with AWS_IAM needs a signature', async () => {
    const { url } = await online(`export default { fetch: async () => new Response('in') }`, { AuthType: 'AWS_IAM' })
    expect((await call(url, '/')).status).toBe(403)
  })

  it('ends with the URL', async () => {
    const { url, name } = await online(`export default { fetch: async () => new Response('in') }`)
    expect((await call(url, '/')).status).toBe(200)
    await client.send(new DeleteFunctionUrlConfigCommand({ FunctionName: name }))
    expect((await call(url, '/')).status).toBe(404)
  })
})
