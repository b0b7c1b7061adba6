import { execFile } from 'node:child_process'
import { createHash, createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const secretAccessKey = 'secret-of-this-test'

interface Seen {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}
type Answer = (seen: Seen, response: ServerResponse) => void

let server: Server
let endpoint: string
let seen: Seen[]
let answer: Answer

beforeEach(async () => {
  seen = []
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const { method = '', url = '', headers } = request
    const one = { method, url: new URL(url, endpoint), headers, body: await buffer(request) }
    seen.push(one)
    answer(one, response)
  }
  server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

/** The real command, in its own process. */
const forkyard = async (...args: string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const env = {
      PATH: process.env['PATH'],
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: 'AKTEST',
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: 'eu-test-1',
    }
    execFile(join(root, 'scripts/forkyard'), args, { env, cwd: root }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr })
    })
  })

const sendJson = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')

/** Signature Version 4, computed here from the specification: what the request should have been signed with. */
const expectedSignature = ({ method, url, headers, body }: Seen): string => {
  const [, scope = '', names = ''] =
    /Credential=AKTEST\/([^,]+), ?SignedHeaders=([^,]+)/.exec(headers.authorization ?? '') ?? []
  const query = [...url.searchParams]
    .map((pair) => pair.map(encodeURIComponent).join('='))
    .toSorted()
    .join('&')
  const canonicalHeaders = names
    .split(';')
    .map((name) => `${name}:${String(headers[name]).trim()}\n`)
    .join('')
  const canonical = [method, url.pathname, query, canonicalHeaders, names, sha256(body)].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n')
  const key = scope.split('/').reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${secretAccessKey}`)
  return hmac(key, toSign).toString('hex')
}

describe('forkyard invoke', () => {
  it('prints the answer on stdout, the waterfall on stderr, and asks for the start that was wished for', async () => {
    answer = (_seen, response) =>
      sendJson(response, 200, { ok: true }, { 'server-timing': 'start;desc="boot", place;dur=1, boot;dur=9' })
    const { code, stdout, stderr } = await forkyard(
      'invoke',
      'f',
      '--data',
      '{"a":1}',
      '--start',
      'boot',
      '--waterfall',
    )
    expect({ code, stdout }).toEqual({ code: 0, stdout: '{"ok":true}' })
    expect(stderr).toContain('start: boot, 10.0 ms in all')
    expect(seen[0]?.headers['x-forkyard-start']).toBe('boot')
    expect(seen[0]?.body.toString()).toBe('{"a":1}')
  })

  it('ends with 2 when the function failed, its answer still on stdout', async () => {
    answer = (_seen, response) => sendJson(response, 200, { errorType: 'E' }, { 'x-amz-function-error': 'Unhandled' })
    const { code, stdout, stderr } = await forkyard('invoke', 'f')
    expect({ code, stdout }).toEqual({ code: 2, stdout: '{"errorType":"E"}' })
    expect(stderr).toContain('Unhandled')
  })

  it('ends with 1 when the platform refuses, and never calls twice', async () => {
    answer = (_seen, response) =>
      sendJson(response, 503, { message: 'no capacity' }, { 'x-amzn-errortype': 'EC2ThrottledException' })
    const { code, stderr } = await forkyard('invoke', 'f')
    expect(code).toBe(1)
    expect(stderr).toContain('no capacity')
    expect(seen).toHaveLength(1)
  })

  it('prints the end of the log when asked', async () => {
    const log = Buffer.from('REPORT RequestId: 1').toString('base64')
    answer = (_seen, response) => sendJson(response, 200, 1, { 'x-amz-log-result': log })
    expect((await forkyard('invoke', 'f', '--tail')).stderr).toContain('REPORT RequestId: 1')
    expect(seen[0]?.headers['x-amz-log-type']).toBe('Tail')
  })

  it('queues with --async', async () => {
    answer = (_seen, response) => response.writeHead(202, { 'x-amzn-requestid': 'id-1' }).end()
    const { code, stderr } = await forkyard('invoke', 'f', '--async')
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'queued as id-1\n' })
    expect(seen[0]?.headers['x-amz-invocation-type']).toBe('Event')
  })
})

describe('forkyard node', () => {
  it('prints a token alone on stdout, for a file, with what it was wished for', async () => {
    answer = (_seen, response) =>
      sendJson(response, 201, { token: 'fyjoin1.x', tokenId: '0', expiresAt: '2026-12-01T00:00:00.000Z' })
    const wish = ['--ttl', '5m', '--pool', 'edge', '--label', 'zone=a', '--label', 'rack=1']
    const { code, stdout, stderr } = await forkyard('node', 'token', ...wish)
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'fyjoin1.x\n' })
    expect(stderr).toContain('until 2026-12-01')
    expect(seen[0]?.url.pathname).toBe('/forkyard/v1/node-tokens')
    const body: unknown = JSON.parse(seen[0]?.body.toString() ?? '')
    expect(body).toEqual({ ttlSeconds: 300, pool: 'edge', labels: { zone: 'a', rack: '1' } })
  })

  it('lists nodes, and removes one', async () => {
    const node = { nodeId: 'y_a', url: 'https://a', pool: 'edge', labels: {}, joinedAt: 'now', by: 'arn' }
    answer = ({ method }, response) =>
      method === 'GET' ? sendJson(response, 200, { nodes: [node] }) : response.writeHead(204).end()
    expect((await forkyard('node', 'list')).stdout).toMatch(/^NODE .*\ny_a +edge +https:\/\/a +now +arn\n$/)
    expect((await forkyard('node', 'remove', 'y_a')).stdout).toContain('y_a is removed')
    expect(seen.at(-1)?.method).toBe('DELETE')
    expect(seen.at(-1)?.url.pathname).toBe('/forkyard/v1/joined-nodes/y_a')
  })
})

describe('forkyard logs', () => {
  it('signs its request, and prints a line a record', async () => {
    const record = { at: 0, version: '1', instanceId: 'i', stream: 'stdout', line: 'hello' }
    answer = (_seen, response) => response.writeHead(200).end(`${JSON.stringify(record)}\n`)
    const { code, stdout } = await forkyard('logs', 'f', '--since', '5m')
    expect({ code, stdout }).toEqual({ code: 0, stdout: '1970-01-01T00:00:00.000Z 1       stdout   hello\n' })
    const [request] = seen
    if (!request) throw new Error('no request came')
    expect(request.url.pathname).toBe('/forkyard/v1/functions/f/logs')
    expect(request.headers.authorization).toContain('/eu-test-1/lambda/aws4_request')
    expect(request.headers.authorization).toContain(`Signature=${expectedSignature(request)}`)
  })

  it('passes on why it was refused', async () => {
    answer = (_seen, response) => sendJson(response, 404, { Message: 'no function f' })
    const { code, stderr } = await forkyard('logs', 'f')
    expect(code).toBe(1)
    expect(stderr).toContain('404 no function f')
  })
})

const notFound = (response: ServerResponse) =>
  sendJson(response, 404, { Message: 'none' }, { 'x-amzn-errortype': 'ResourceNotFoundException' })
const calls = () => seen.map(({ method, url }) => `${method} ${url.pathname}`)

describe('forkyard deploy', () => {
  const configuration = {
    FunctionName: 'hello',
    FunctionArn: 'arn:aws:lambda:eu-test-1:000000000000:function:hello',
    Version: '1',
    State: 'Active',
    LastUpdateStatus: 'Successful',
    Runtime: 'nodejs24.x',
    Handler: 'index.handler',
    MemorySize: 128,
    Timeout: 5,
  }
  it('creates and publishes what is not there', async () => {
    let created = false
    answer = ({ method, url }, response) => {
      if (method === 'POST') created = true
      if (url.pathname.endsWith('/url') || !created) return notFound(response)
      return sendJson(
        response,
        method === 'POST' ? 201 : 200,
        method === 'POST' ? configuration : { Configuration: configuration },
      )
    }
    const { code, stdout, stderr } = await forkyard('deploy', 'examples/hello', '--concurrency', '4')
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('created in') as string })
    expect(stdout).toContain(configuration.FunctionArn)
    const post = seen.find(({ method }) => method === 'POST')
    expect(JSON.parse(post?.body.toString() ?? '')).toMatchObject({
      FunctionName: 'hello',
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      MemorySize: 128,
      Timeout: 5,
      Publish: true,
      Tags: { 'forkyard:concurrency': '4' },
    })
  })

  it('updates only the code when nothing else differs', async () => {
    answer = ({ method, url }, response) => {
      if (url.pathname.endsWith('/url')) return notFound(response)
      if (method === 'PUT') return sendJson(response, 200, { ...configuration, Version: '2' })
      return sendJson(
        response,
        200,
        url.pathname.endsWith('/configuration') ? configuration : { Configuration: configuration },
      )
    }
    const { code, stdout } = await forkyard('deploy', 'examples/hello')
    expect(code).toBe(0)
    expect(stdout).toContain('version  2')
    expect(calls().filter((call) => call.startsWith('PUT'))).toEqual(['PUT /2015-03-31/functions/hello/code'])
  })
})
