/** Functions that call functions by name, in real sandboxes: no address, no credential, and nothing that they say of themselves counts. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  AddPermissionCommand,
  CreateAliasCommand,
  PublishVersionCommand,
  TagResourceCommand,
} from '@aws-sdk/client-lambda'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import type { Bindings } from '../../../services/contracts/bindings.ts'
import { callHeaders, type Ticket } from '../../../services/contracts/calls.ts'
import { accountIdOf } from '../../../services/contracts/function.ts'
import { protocolHeaders } from '../../../services/contracts/protocol.ts'
import { createTickets } from '../../../services/gateway/calls/tickets.ts'
import { bundled } from '../../support/bundled.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../../support/lambda.ts'
import { auditOf } from '../../support/network-probe.ts'
import { configOf } from '../host.ts'
import { installation } from '../installation.ts'

const target = installation()
const client = lambdaClient(target)
const run = promisify(execFile)
const env = { PATH: process.env['PATH'], FORKYARD_STATE_DIR: target.stateDir }
const forkyard = async (...args: string[]): Promise<string> =>
  (await run(join(import.meta.dirname, '../../../scripts/forkyard'), args, { env, timeout: 60_000 })).stdout

/** Asks what its event says, and tells what it was answered, and who asked it. */
const source = `
const ask = async ({ url, init, ms = 20000 }) => {
  try {
    const reply = await fetch(url, { signal: AbortSignal.timeout(ms), ...init })
    const text = await reply.text()
    return { status: reply.status, error: reply.headers.get('x-forkyard-error'), body: text.startsWith('{') ? JSON.parse(text) : text }
  } catch (error) { return { failed: error.cause?.code ?? error.name } }
}
const early = process.env.EARLY ? await ask({ url: 'http://other.internal/early' }) : undefined
export const handler = async (event, context) => {
  if (event.todo) return { id: context.awsRequestId, early, told: await Promise.all(event.todo.map(ask)) }
  const { headers, requestContext, rawPath, rawQueryString, body } = event
  if (rawPath === '/loop') {
    const reply = await ask({ url: 'http://other.internal/loop' })
    return { statusCode: 200, body: JSON.stringify({ deep: 1 + (reply.body.deep ?? 0), last: reply.body.last ?? reply.error }) }
  }
  return { statusCode: 201, body: JSON.stringify({
    headers, caller: requestContext.authorizer, id: context.awsRequestId, rawPath, rawQueryString, body, version: context.functionVersion,
    secrets: JSON.stringify([process.env, event, context]),
  }) }
}
`
/** Bytes as they come; the second ones only once the first were answered for. */
const streaming = `
export default { async fetch(request) {
  const said = await request.text()
  return new Response(new ReadableStream({ async start(out) {
    out.enqueue(new TextEncoder().encode('first '))
    await new Promise((go) => setTimeout(go, 1000))
    out.enqueue(new TextEncoder().encode('second of ' + said))
    out.close()
  } }), { status: 202, headers: { 'x-caller': request.headers.get('x-forkyard-caller') } })
} }
`
const reader = `
export const handler = async () => {
  const reply = await fetch('http://other.internal/', { method: 'POST', body: 'hello', duplex: 'half' })
  const at = []
  let text = ''
  for await (const part of reply.body) { at.push(Date.now()); text += Buffer.from(part) }
  return { status: reply.status, caller: reply.headers.get('x-caller'), text, apart: at.at(-1) - at[0] }
}
`

interface Answer {
  readonly status?: number
  readonly error?: string
  readonly failed?: string
  readonly body?: { readonly [key: string]: unknown }
}
interface Told {
  readonly id: string
  readonly early?: Answer
  readonly told: readonly Answer[]
}

const pathOf = (name: string) => `/forkyard/v1/functions/${name}/bindings`
const bind = async (name: string, bindings: Bindings): Promise<void> =>
  void (await signedFetch(target, { method: 'PUT', path: pathOf(name), body: { bindings } }))
const unbind = (name: string) => signedFetch(target, { method: 'DELETE', path: pathOf(name) })
const to = (name: string, more: { qualifier?: string } = {}): Bindings => ({
  other: { type: 'function', function: name, ...more },
})

const made = async (prefix: string, code = source, bindings?: Bindings, variables: Record<string, string> = {}) => {
  const name = uniqueName(prefix)
  const Handler = code.includes('export default') ? 'index.default' : 'index.handler'
  await createFunction(client, name, code, { MemorySize: 128, Handler, Environment: { Variables: variables } })
  if (bindings) await bind(name, bindings)
  return name
}
type Start = 'boot' | 'restore' | 'fork'
const ask = async (
  name: string,
  urls: readonly (string | { readonly url: string; readonly init?: object; readonly ms?: number })[],
  start?: Start,
): Promise<Told> => {
  const todo = urls.map((url) => (typeof url === 'string' ? { url } : url))
  const { json, text } = await invoke(client, name, { todo }, start ? { start } : {})
  expect(json, text).toHaveProperty('told')
  return json as Told
}
const other = 'http://other.internal/path?a=b'
const arnOf = (name: string, version = '$LATEST') =>
  `arn:aws:lambda:${target.region}:${accountIdOf('default')}:function:${name}:${version}`

let callee: string
beforeAll(async () => {
  callee = await made('callee')
})

describe('a function that is bound to another one', () => {
  it.each<Start>(['boot', 'restore', 'fork'])('calls it by name after a %s, and it sees who calls', async (start) => {
    const caller = await made('caller', source, to(callee))
    const { id, told } = await ask(
      caller,
      [
        {
          url: other,
          init: { method: 'POST', body: 'hello', headers: { 'x-forkyard-caller': 'an admin', authorization: 'own' } },
        },
      ],
      start,
    )
    expect(told[0]).toMatchObject({
      status: 201,
      body: {
        rawPath: '/path',
        rawQueryString: 'a=b',
        body: 'hello',
        headers: { host: 'other.internal', authorization: 'own', 'x-forkyard-caller': arnOf(caller) },
        caller: { function: { arn: arnOf(caller), name: caller, version: '$LATEST', account: accountIdOf('default') } },
      },
    })
    // Of a fork the platform does not know which one of its seed's sandbox it was.
    if (start !== 'fork') expect(told[0]?.body).toMatchObject({ caller: { function: { invocationId: id } } })
    const secrets = [configOf(target, 'node-agent').callToken ?? '', 'forkyard-ticket', 't1.sign']
    for (const secret of secrets) expect(JSON.stringify(told)).not.toContain(secret)
  })

  it('calls it while it initialises', async () => {
    const caller = await made('early', source, to(callee), { EARLY: '1' })
    expect((await ask(caller, [])).early).toMatchObject({ status: 201, body: { rawPath: '/early' } })
  })

  it('gets its answer as it is written', async () => {
    const streamer = await made('streamer', streaming)
    const caller = await made('reader', reader, to(streamer))
    const { json } = await invoke(client, caller)
    expect(json).toMatchObject({ status: 202, caller: arnOf(caller), text: 'first second of hello' })
    expect((json as { apart: number }).apart).toBeGreaterThan(500)
  })

  it('reaches the alias or version that is named', async () => {
    const FunctionName = await made('versioned')
    await client.send(new PublishVersionCommand({ FunctionName }))
    await client.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
    const caller = await made('caller', source, {
      ...to(FunctionName, { qualifier: 'live' }),
      newest: { type: 'function', function: FunctionName },
      none: { type: 'function', function: `${FunctionName}:nobody` },
    })
    const { told } = await ask(caller, [other, 'http://newest.internal/', 'http://none.internal/'])
    expect(told.map(({ status, error, body }) => [status, error, body?.['version']])).toEqual([
      [201, null, '1'],
      [201, null, '$LATEST'],
      [404, 'NOT_FOUND', undefined],
    ])
  })

  it('invokes it with the SDK of its vendor, in its default settings, and nobody else', async () => {
    const echo = await made('echo', 'export const handler = async (event) => ({ got: event })')
    const sdk = `
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda'
const client = new LambdaClient({ maxAttempts: 1 })
export const handler = async ({ names }) => {
  const told = []
  for (const FunctionName of names) {
    try {
      const { StatusCode, Payload } = await client.send(new InvokeCommand({ FunctionName, Payload: '{"order":17}' }))
      told.push([StatusCode, JSON.parse(Payload.transformToString())])
    } catch (error) { told.push(error.name) }
  }
  return told
}`
    const caller = uniqueName('sdk')
    await createFunction(client, caller, await bundled(sdk), { MemorySize: 256 })
    await bind(caller, { second: { type: 'function', function: echo }, first: { type: 'function', function: callee } })
    const { json, text } = await invoke(client, caller, { names: [echo, 'stranger'] })
    expect(json, text).toEqual([[200, { got: { order: 17 } }], 'AccessDeniedException'])
  })

  it('sees the other one’s failure as a failure of its own', async () => {
    const broken = await made('broken', 'export const handler = async () => { throw new Error("no") }')
    expect((await ask(await made('caller', source, to(broken)), [other])).told[0]).toMatchObject({
      status: 502,
      error: 'function-error',
    })
  })

  it('is on record with the invocation that calls and the one that came of it', async () => {
    const caller = await made('caller', source, to(callee))
    const since = Date.now()
    const { id, told } = await ask(caller, [other])
    await vi.waitFor(
      async () => {
        const records = (await auditOf(target, caller, since)).filter(({ kind }) => kind === 'binding')
        expect(records).toEqual([
          expect.objectContaining({
            verdict: 'used',
            binding: 'other',
            type: 'function',
            target: callee,
            tenant: 'default',
            name: caller,
            version: '$LATEST',
            invocationId: id,
            calledInvocationId: told[0]?.body?.['id'],
          }),
        ])
      },
      { timeout: 10_000, interval: 200 },
    )
  })
})

describe('a function that is not', () => {
  it('does not call it, by name, by the proxy’s address, or at the gateway’s port; one that is does, beside it', async () => {
    const [bound, unbound] = [await made('bound', source, to(callee)), await made('unbound')]
    const { port } = configOf(target, 'gateway').calls?.listen ?? { port: 0 }
    expect((await ask(bound, [other])).told[0]?.status).toBe(201)
    for (const answer of (await ask(unbound, [other, `http://127.0.0.1:${port}/`])).told)
      expect(answer).toEqual({ failed: expect.any(String) as string })
  })

  it('any more is cut off within a second, while it runs', async () => {
    const caller = await made('caller', source, to(callee))
    expect((await ask(caller, [other])).told[0]?.status).toBe(201)
    await unbind(caller)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect((await ask(caller, [{ url: other, ms: 1_000 }])).told[0]?.status).not.toBe(201)
    const instead = await made('instead')
    await bind(caller, to(instead))
    await vi.waitFor(async () => expect((await ask(caller, [{ url: other, ms: 1_000 }])).told[0]?.status).toBe(201), {
      timeout: 10_000,
      interval: 200,
    })
    await bind(caller, to('nobody-of-this-name'))
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect((await ask(caller, [other])).told[0]).toMatchObject({ status: 404, error: 'NOT_FOUND' })
  })
})

describe('functions that call each other in a circle', () => {
  it('are stopped after sixteen calls, and one that does not is not', async () => {
    const [one, two] = [await made('one'), await made('two')]
    await bind(one, to(two))
    await bind(two, to(one))
    // So that the whole circle fits into two instances.
    for (const name of [one, two])
      await client.send(
        new TagResourceCommand({
          Resource: arnOf(name).replace(/:\$LATEST$/, ''),
          Tags: { 'forkyard:concurrency': '32' },
        }),
      )
    const { told } = await ask(one, ['http://other.internal/loop'])
    expect(told[0]).toMatchObject({ status: 200, body: { deep: 16, last: 'RECURSIVE_INVOCATION' } })
    // Negative control: as many calls that are no chain.
    const many = await ask(
      one,
      Array.from({ length: 20 }, () => other),
    )
    expect(many.told.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 201))
  })
})

it('a node cannot speak for a function whose invocation it was not given', async () => {
  const caller = await made('caller', source, to(callee))
  const { listen, token = '' } = configOf(target, 'gateway').calls ?? { listen: { port: 0 } }
  const ticket: Ticket = {
    tenant: 'default',
    name: caller,
    version: '$LATEST',
    invocationId: 'of-nobody',
    deadlineAt: Date.now() + 60_000,
    hops: 0,
  }
  const statusWith = async (text: string, name = 'other') => {
    const headers = {
      [callHeaders.token]: `Bearer ${token}`,
      [callHeaders.ticket]: text,
      [callHeaders.binding]: name,
      ...protocolHeaders,
    }
    const sent = request({ host: '127.0.0.1', port: listen.port, path: '/', headers, agent: false })
    const [response] = (await once(sent.end(), 'response')) as [IncomingMessage]
    response.resume()
    return response.statusCode
  }
  const forged = createTickets([{ id: configOf(target, 'gateway').signing[0]?.id ?? '', seed: 'a'.repeat(64) }])
  expect(await statusWith(forged.issue(ticket))).toBe(403)
  // Negative control: the installation's own key opens what it is bound to, and nothing else.
  const own = createTickets(configOf(target, 'gateway').signing)
  expect(await statusWith(own.issue(ticket))).toBe(201)
  expect(await statusWith(own.issue(ticket), 'another')).toBe(403)
  expect(await statusWith(own.issue({ ...ticket, deadlineAt: Date.now() - 1 }))).toBe(403)
})

describe('a function of another tenant', () => {
  it('is called once its policy lets this tenant in, and not before', async () => {
    const tenant = uniqueName('tenant')
    await forkyard('principals', 'put', 'dora', '--tenant', tenant, '--role', 'admin')
    const key = JSON.parse(await forkyard('keys', 'create', 'dora', '--tenant', tenant, '--json')) as {
      accessKeyId: string
      secretAccessKey: string
    }
    const theirs = lambdaClient({ ...target, ...key })
    const name = uniqueName('theirs')
    await createFunction(theirs, name, source, { MemorySize: 128 })
    const arn = `arn:aws:lambda:${target.region}:${accountIdOf(tenant)}:function:${name}`
    const caller = await made('caller', source, to(arn))
    expect((await ask(caller, [other])).told[0]).toMatchObject({ status: 403, error: 'FORBIDDEN' })
    const SourceArn = arnOf(caller).replace(/:\$LATEST$/, '')
    const permission = { FunctionName: name, StatementId: 'in', Action: 'lambda:InvokeFunction', SourceArn }
    await theirs.send(new AddPermissionCommand({ ...permission, Principal: accountIdOf('default') }))
    expect((await ask(caller, [other])).told[0]).toMatchObject({
      status: 201,
      body: { caller: { function: { account: accountIdOf('default'), name: caller } } },
    })
    // Another function of the same tenant is not whom it lets in.
    expect((await ask(await made('caller', source, to(arn)), [other])).told[0]?.status).toBe(403)
  })
})
