/** A node behind a cable that can be cut: no connection breaks then, and nothing comes through. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { acceptLinks } from '../chassis/link/accept.ts'
import { livenessLink } from '../contracts/links.ts'
import { livenessSession } from '../node-agent/routes/liveness-link.ts'
import { createNodeClient, type NodeClient, type NodeRequest } from './node-client.ts'
import { NodeUnreachable } from './node-watch.ts'

const token = 't'.repeat(32)
const times = { silenceMs: 300, connectMs: 300, patienceMs: 1_000 }

let app: FastifyInstance
let port: number
let cable: Server
let ends: Socket[]
let url: string
let client: NodeClient
let lost: string[]
/** Bodies that arrived in whole. */
let started: string[]
/** Before the node asks for the rest of a body that is held. */
let instance: PromiseWithResolvers<void>
/** Before it answers. */
let handler: PromiseWithResolvers<void>

const startNode = async (): Promise<void> => {
  app = fastify({ forceCloseConnections: 'idle' })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.post('/v1/invocations/:id', async ({ headers, body, raw }, reply) => {
    if (headers['refuse'] === '1') return reply.code(409).send({ code: 'NO_INSTANCE', message: 'none' })
    if (headers['forkyard-held'] === '1') {
      await instance.promise
      reply.raw.writeProcessing()
    }
    const whole = await buffer(body ? (body as AsyncIterable<Buffer>) : raw).catch(() => undefined)
    if (!whole) return reply
    started.push(whole.toString())
    await handler.promise
    return `answer to ${whole.toString()}`
  })
  if (watched) acceptLinks(app, { path: livenessLink, token, open: () => livenessSession })
  await app.listen({ host: '127.0.0.1', port: 0 })
  port = (app.server.address() as AddressInfo).port
}

let watched = true

const lay = async (): Promise<void> => {
  ends = []
  cable = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    near.pipe(far).pipe(near)
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const)
      end.on('error', () => other.destroy()).on('close', () => other.destroy())
    ends.push(near, far)
    if (cut) pause()
  })
  await once(cable.listen(0, '127.0.0.1'), 'listening')
  url = `http://127.0.0.1:${(cable.address() as AddressInfo).port}`
}

let cut = false
const pause = (): void => {
  cut = true
  for (const end of ends) end.unpipe().pause()
}
const mend = (): void => {
  cut = false
  for (let at = 0; at < ends.length; at += 2) {
    const [near, far] = [ends[at], ends[at + 1]]
    if (near && far) near.pipe(far).pipe(near)
  }
}

beforeEach(async () => {
  watched = true
  cut = false
  started = []
  lost = []
  instance = Promise.withResolvers()
  handler = Promise.withResolvers()
  await startNode()
  await lay()
  client = createNodeClient({
    trustOf: () => ({ token, ca: undefined }),
    times,
    onLost: (nodeUrl) => void lost.push(nodeUrl),
  })
})

afterEach(async () => {
  await client.close()
  for (const end of ends) end.destroy()
  cable.close()
  await app.close()
})

const ask = async (body: string, more: Partial<NodeRequest> = {}): Promise<string> => {
  const { body: answer } = await client.invoke(url, {
    invocationId: 'i',
    headers: { 'content-type': 'application/octet-stream' },
    body: Buffer.from(body),
    mayWait: true,
    signal: AbortSignal.timeout(10_000),
    ...more,
  })
  return text(answer)
}
const arrived = (body: string) => vi.waitFor(() => expect(started).toContain(body))

describe('a request that waits for an instance', () => {
  it('is handed over when the node asks for its rest', async () => {
    const answer = ask('held')
    instance.resolve()
    handler.resolve()
    expect(await answer).toBe('answer to held')
    const stream = ask('', {
      body: (async function* () {
        yield Buffer.from('pre')
        yield Buffer.from('lude')
      })(),
    })
    expect(await stream).toBe('answer to prelude')
  })

  it('may be refused by the node before it asked', async () => {
    const refused = ask('held', { headers: { refuse: '1', 'content-type': 'application/octet-stream' } })
    await expect(refused).rejects.toMatchObject({ code: 'NO_INSTANCE' })
  })

  it('was never started by a node that dies before it asked', async () => {
    const answer = expect(ask('held')).rejects.toThrow(NodeUnreachable)
    await vi.waitFor(() => expect(ends.length).toBeGreaterThan(2))
    for (const end of ends) end.destroy()
    await answer
    expect(started).toEqual([])
  })

  it('goes as it is where one byte is all there is', async () => {
    handler.resolve()
    expect(await ask('1')).toBe('answer to 1')
  })
})

describe('a node that gives no signs of life', () => {
  it('never started what it did not ask for; what it may have started is lost; what comes next is not sent', async () => {
    instance.resolve()
    const first = ask('first')
    await arrived('first')
    instance = Promise.withResolvers()
    const second = ask('second')
    const outcomes = Promise.allSettled([first, second])
    // One connection for the signs of life, one for each request.
    await vi.waitFor(() => expect(ends).toHaveLength(6))
    pause()
    const [one, two] = await outcomes
    expect(one).toMatchObject({ reason: { code: 'INSTANCE_LOST' } })
    expect(two).toMatchObject({ reason: expect.any(NodeUnreachable) as unknown })
    expect(lost).toEqual([url])
    await expect(ask('third')).rejects.toThrow(NodeUnreachable)

    mend()
    instance.resolve()
    handler.resolve()
    await vi.waitFor(async () => expect(await ask('fourth')).toBe('answer to fourth'), { timeout: 5_000 })
    expect(started).not.toContain('second')
    expect(started).not.toContain('third')
  })

  it('is not one that ends and answers first what it has', async () => {
    instance.resolve()
    const answer = ask('last')
    await arrived('last')
    void app.close()
    setTimeout(() => handler.resolve(), 3 * times.silenceMs)
    expect(await answer).toBe('answer to last')
    expect(lost).toEqual([])
    await expect(ask('late')).rejects.toThrow(NodeUnreachable)
  })
})

describe('a node that is trusted in another way now', () => {
  it('answers what it has, and what comes next goes over another connection', async () => {
    const answer = ask('before', { mayWait: false })
    await arrived('before')
    const connections = ends.length
    client.changed(url)
    handler.resolve()
    expect(await answer).toBe('answer to before')
    expect(await ask('after', { mayWait: false })).toBe('answer to after')
    expect(ends.length).toBeGreaterThan(connections)
  })

  it('takes along what it has when it is lost', async () => {
    const answer = ask('before', { mayWait: false })
    await arrived('before')
    client.changed(url)
    pause()
    await expect(answer).rejects.toMatchObject({ code: 'INSTANCE_LOST' })
  })
})

it('an agent that knows no such link gets its requests in whole', async () => {
  await app.close()
  watched = false
  await startNode()
  handler.resolve()
  expect(await ask('whole')).toBe('answer to whole')
})
