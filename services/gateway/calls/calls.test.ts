/** What nodes bring: who is let in, in whose name, and what the called function sees. */
import { request as httpRequest, type OutgoingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import {
  AddPermissionCommand,
  CreateAliasCommand,
  CreateFunctionCommand,
  PublishVersionCommand,
} from '@aws-sdk/client-lambda'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FunctionBinding } from '../../contracts/bindings.ts'
import { ticketPayload, type Ticket } from '../../contracts/calls.ts'
import { accountIdOf } from '../../contracts/function.ts'
import { preludeDelimiter, type HttpPrelude } from '../../contracts/node.ts'
import { answerError, answerStream, answerWhole, httpAnswer, type NodeCall } from '../testing/fake-node.ts'
import { account, otherAccount, roleArn, startGateway, zipOf, type TestGateway } from '../testing/gateway.ts'
import { startCallServer, type CallServer } from './call-server.ts'
import type { IsWanted } from './function-bindings.ts'
import { createCallHandler } from './handle-call.ts'
import { createTickets } from './tickets.ts'

const token = 'of-nodes'.repeat(8)
let gateway: TestGateway
let server: CallServer
/** Of every function, by the binding's name. */
let bindings: Record<string, FunctionBinding>
const caller: Ticket = {
  tenant: account.tenant,
  name: 'caller',
  version: '7',
  invocationId: 'calling',
  deadlineAt: Date.now() + 600_000,
  hops: 0,
}
const ticketOf = (more: Partial<Ticket> = {}): string =>
  createTickets(gateway.deps.config.signing).issue({ ...caller, ...more })

const create = async (as: typeof account, FunctionName: string): Promise<void> => {
  const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
  const command = { FunctionName, Role: roleArn, Runtime: 'nodejs24.x', Handler: 'index.handler', Code } as const
  await gateway.client(as).send(new CreateFunctionCommand(command))
}

beforeEach(async () => {
  gateway = await startGateway({ limits: { urlBodyBytes: 1000, startBudgetMs: 1000, stalledMs: 300 } })
  bindings = { other: { type: 'function', function: 'called' } }
  const functionBindings = {
    find: async (tenant: string, name: string, is: IsWanted) =>
      tenant === caller.tenant && name === caller.name
        ? Object.entries(bindings).find(([of, binding]) => is(binding, of))?.[1]
        : undefined,
  }
  const tickets = createTickets(gateway.deps.config.signing)
  const handle = createCallHandler({ ...gateway.deps, tickets, functionBindings })
  server = await startCallServer(
    { listen: { host: '127.0.0.1', port: 0 }, url: 'http://gateway', token },
    5_000,
    handle,
  )
  await create(account, 'called')
  gateway.node.answer = (one) =>
    answerWhole(one, httpAnswer({ statusCode: 201, headers: { 'x-own': 'a' } }, 'the answer'))
})
afterEach(async () => {
  await server.close(0)
  await gateway.close()
})

const call = async (path = '/p?a=b', headers: OutgoingHttpHeaders = {}, body?: string) => {
  const sent = httpRequest({
    host: '127.0.0.1',
    port: server.port,
    path,
    method: body === undefined ? 'GET' : 'POST',
    agent: false,
    headers: {
      host: 'other.internal',
      'proxy-authorization': `Bearer ${token}`,
      'forkyard-ticket': ticketOf(),
      'forkyard-binding': 'other',
      ...headers,
    },
  })
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve).once('error', reject).end(body)
  })
  return { status: response.statusCode, headers: response.headers, body: (await buffer(response)).toString() }
}
const received = async (one: NodeCall | undefined): Promise<{ prelude: HttpPrelude; body: string }> => {
  const bytes = (await one?.body()) ?? Buffer.alloc(0)
  const at = bytes.indexOf(preludeDelimiter)
  return { prelude: JSON.parse(bytes.toString('utf8', 0, at)) as HttpPrelude, body: bytes.toString('utf8', at + 8) }
}
const echo = async (one: NodeCall): Promise<void> => {
  const got = await received(one)
  await answerWhole(one, httpAnswer({ statusCode: 200 }, JSON.stringify(got)))
}

describe('a call', () => {
  it('is answered as the called function answers', async () => {
    const { status, headers, body } = await call()
    expect({ status, own: headers['x-own'], body }).toEqual({ status: 201, own: 'a', body: 'the answer' })
    expect(headers['forkyard-error']).toBeUndefined()
  })

  it('tells the function who calls, and nobody else can say so', async () => {
    gateway.node.answer = echo
    const forged = { 'x-forkyard-caller': 'me', 'x-forkyard-caller-invocation': 'mine', 'forkyard-anything': 'x' }
    const reply = await call('/p?a=b', { ...forged, authorization: 'the function’s own'.replace('’', '') }, 'body')
    const { prelude, body } = JSON.parse(reply.body) as { prelude: HttpPrelude; body: string }
    const arn = `arn:aws:lambda:eu-test-1:${accountIdOf(account.tenant)}:function:caller:7`
    expect(prelude).toMatchObject({
      target: '/p?a=b',
      method: 'POST',
      host: 'other.internal',
      caller: { arn, name: 'caller', version: '7', invocationId: 'calling', account: accountIdOf(account.tenant) },
    })
    const headers = Object.fromEntries(prelude.headers)
    expect(headers).toMatchObject({
      'x-forkyard-caller': arn,
      'x-forkyard-caller-invocation': 'calling',
      authorization: 'the functions own',
    })
    expect(Object.keys(headers).filter((name) => name.startsWith('forkyard-') || name.startsWith('proxy-'))).toEqual([])
    expect(body).toBe('body')
  })

  it('of one among several invocations names none of them', async () => {
    gateway.node.answer = echo
    const { prelude } = JSON.parse((await call('/', { 'forkyard-shared': '1' })).body) as { prelude: HttpPrelude }
    expect(prelude.caller).not.toHaveProperty('invocationId')
  })

  it('is one call further than the one that it comes of', async () => {
    await call('/', { 'forkyard-ticket': ticketOf({ hops: 4 }) })
    const given = gateway.node.calls.at(-1)?.headers['forkyard-ticket']
    expect(ticketPayload(String(given))).toMatchObject({ name: 'called', version: '$LATEST', hops: 5 })
  })

  it('that is the seventeenth of a chain is refused', async () => {
    expect((await call('/', { 'forkyard-ticket': ticketOf({ hops: 15 }) })).status).toBe(201)
    expect(await call('/', { 'forkyard-ticket': ticketOf({ hops: 16 }) })).toMatchObject({
      status: 400,
      headers: { 'forkyard-error': 'RECURSIVE_INVOCATION', 'x-amzn-errortype': 'RecursiveInvocationException' },
    })
    expect(gateway.placements).toHaveLength(1)
  })

  it('is streamed both ways', async () => {
    gateway.node.answer = (one) => answerStream(one, [httpAnswer({ statusCode: 200 }, 'first '), Buffer.from('second')])
    expect((await call('/', {}, 'x'.repeat(900))).body).toBe('first second')
    expect(await call('/', {}, 'x'.repeat(1001))).toMatchObject({ status: 413 })
  })

  it('whose answer says a header of the platform is answered without it', async () => {
    gateway.node.answer = (one) => answerWhole(one, httpAnswer({ statusCode: 403, headers: { 'forkyard-error': 'X' } }))
    const { status, headers } = await call()
    expect([status, headers['forkyard-error']]).toEqual([403, undefined])
  })

  it('that no node takes is told as such', async () => {
    gateway.node.answer = (one) => answerError(one, 503, 'NO_CAPACITY')
    expect(await call()).toMatchObject({
      status: 503,
      headers: { 'forkyard-error': 'NO_CAPACITY', 'retry-after': '1' },
    })
  })

  it('reaches the alias that the binding names', async () => {
    await gateway.client().send(new PublishVersionCommand({ FunctionName: 'called' }))
    const alias = { FunctionName: 'called', Name: 'live', FunctionVersion: '1' }
    await gateway.client().send(new CreateAliasCommand(alias))
    const forms = [{ function: 'called:live' }, { function: 'called', qualifier: 'live' }]
    for (const form of forms) {
      bindings['other'] = { type: 'function', ...form }
      expect((await call()).status).toBe(201)
      expect(gateway.node.calls.at(-1)?.headers['forkyard-revision']).toContain('"version":"1"')
    }
    bindings['other'] = { type: 'function', function: 'called:nowhere' }
    expect((await call()).status).toBe(404)
  })
})

describe('refused, and nothing is placed:', () => {
  afterEach(() => expect(gateway.placements).toEqual([]))

  it.each<[string, () => OutgoingHttpHeaders]>([
    ['who shows no token', () => ({ 'proxy-authorization': '' })],
    ['who shows another role’s', () => ({ 'proxy-authorization': `Bearer ${gateway.deps.config.nodeToken}` })],
    ['who shows it as the function’s own', () => ({ 'proxy-authorization': '', authorization: `Bearer ${token}` })],
    ['a call without a ticket', () => ({ 'forkyard-ticket': '' })],
    ['a call with a ticket that is none', () => ({ 'forkyard-ticket': 't1.one.e30.AAAA' })],
    ['a call after the end of its invocation', () => ({ 'forkyard-ticket': ticketOf({ deadlineAt: Date.now() - 1 }) })],
    ['a function without the binding', () => ({ 'forkyard-ticket': ticketOf({ name: 'stranger' }) })],
    [
      'a function of that name of another tenant',
      () => ({ 'forkyard-ticket': ticketOf({ tenant: otherAccount.tenant }) }),
    ],
    ['a binding that is gone', () => ({ 'forkyard-binding': 'gone' })],
    ['a binding by a name that every object has', () => ({ 'forkyard-binding': 'constructor' })],
  ])('%s', async (_who, headers) => {
    expect(await call('/', headers())).toMatchObject({ status: 403, headers: { 'forkyard-error': 'FORBIDDEN' } })
  })

  it('a function that is not there', async () => {
    bindings['other'] = { type: 'function', function: 'nobody' }
    expect((await call()).status).toBe(404)
  })

  it('another tenant’s function that lets nobody in, or another one in', async () => {
    await create(otherAccount, 'theirs')
    const arn = `arn:aws:lambda:eu-test-1:${accountIdOf(otherAccount.tenant)}:function:theirs`
    bindings['other'] = { type: 'function', function: arn }
    expect((await call()).status).toBe(403)
    await permit('theirs', { Principal: accountIdOf(account.tenant), SourceArn: `${own}:another` })
    expect((await call()).status).toBe(403)
    bindings['other'] = { type: 'function', function: arn.replace(/:theirs$/, ':nobody') }
    expect((await call()).status).toBe(403)
    bindings['other'] = { type: 'function', function: 'arn:aws:lambda:eu-test-1:123456789012:function:theirs' }
    expect((await call()).status).toBe(403)
  })
})

const own = `arn:aws:lambda:eu-test-1:${accountIdOf(account.tenant)}:function`
const permit = (FunctionName: string, more: { Principal: string; SourceArn?: string }) =>
  gateway
    .client(otherAccount)
    .send(new AddPermissionCommand({ FunctionName, StatementId: 'in', Action: 'lambda:InvokeFunction', ...more }))

it.each([
  ['the account', {}],
  ['this function', { SourceArn: `${own}:caller` }],
  ['this version', { SourceArn: `${own}:caller:7` }],
])('another tenant’s function that lets %s in is called', async (_whom, condition) => {
  await create(otherAccount, 'theirs')
  bindings['other'] = {
    type: 'function',
    function: `arn:aws:lambda:eu-test-1:${accountIdOf(otherAccount.tenant)}:function:theirs`,
  }
  await permit('theirs', { Principal: accountIdOf(account.tenant), ...condition })
  expect((await call()).status).toBe(201)
})

describe('Lambda’s Invoke, at the name of the API', () => {
  const event = { order: 17 }
  const invoke = (path: string, headers: OutgoingHttpHeaders = {}, body = JSON.stringify(event)) =>
    call(`/2015-03-31/functions/${path}`, { host: 'lambda.other.internal', ...headers }, body)
  beforeEach(() => {
    gateway.node.answer = async (one) => answerWhole(one, await one.body())
  })

  it('invokes what is bound, whatever the name under which it is', async () => {
    bindings = { other: { type: 'function', function: 'elsewhere' }, second: { type: 'function', function: 'called' } }
    for (const name of ['called', 'called:$LATEST', encodeURIComponent(`${own}:called`)]) {
      bindings['second'] = { type: 'function', function: decodeURIComponent(name) }
      const { status, body, headers } = await invoke(`${name}/invocations`)
      expect([status, body, headers['x-amz-executed-version']]).toEqual([200, JSON.stringify(event), '$LATEST'])
    }
    expect(gateway.node.calls.at(-1)?.headers).toMatchObject({ 'forkyard-kind': 'event' })
    expect(ticketPayload(String(gateway.node.calls.at(-1)?.headers['forkyard-ticket']))).toMatchObject({ hops: 1 })
  })

  it('queues events, which are of the same chain, and checks without running', async () => {
    const queued = await invoke('called/invocations', {
      'x-amz-invocation-type': 'Event',
      'forkyard-ticket': ticketOf({ hops: 3 }),
    })
    expect([queued.status, gateway.pushed.map((one) => one.event)]).toEqual([
      202,
      [expect.objectContaining({ name: 'called', hops: 4 })],
    ])
    expect((await invoke('called/invocations', { 'x-amz-invocation-type': 'DryRun' })).status).toBe(204)
    expect(gateway.placements).toEqual([])
  })

  it.each<[string, string, OutgoingHttpHeaders, string, number]>([
    ['what is not bound', 'stranger/invocations', {}, '{}', 403],
    ['another version of what is bound', 'called:1/invocations', {}, '{}', 403],
    [
      'another tenant’s function of that name',
      `arn:aws:lambda:eu-test-1:${accountIdOf(otherAccount.tenant)}:function:called/invocations`,
      {},
      '{}',
      403,
    ],
    ['another operation', 'called/policy', {}, '{}', 404],
    ['what is no name', '%ff/invocations', {}, '{}', 400],
    ['what is no JSON', 'called/invocations', {}, '{', 400],
    ['what is no type', 'called/invocations', { 'x-amz-invocation-type': 'Now' }, '{}', 400],
    ['the seventeenth of a chain', 'called/invocations', { 'forkyard-ticket': 'deep' }, '{}', 400],
  ])('refuses %s', async (_what, path, headers, body, status) => {
    const given = headers['forkyard-ticket'] === 'deep' ? { 'forkyard-ticket': ticketOf({ hops: 16 }) } : headers
    expect((await invoke(path, given, body)).status).toBe(status)
    expect([gateway.placements, gateway.pushed]).toEqual([[], []])
  })
})
