/** Code of a function that speaks to the node's socket itself, and badly: only its own invocation is affected, and little is held for it. */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { LogRecord, UsageRecord } from '../../services/contracts/usage.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { leftoversOf, pidOf, storedMessages } from './host.ts'
import { installation } from './installation.ts'
import { agentMemoryMiB } from './machine-state.ts'
import { createPeer, type Peer } from './peer.ts'

const target = installation()
const client = lambdaClient(target)

/** What all attackers begin with. */
const tools = `import net from 'node:net'
import fs from 'node:fs'
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const answer = (id, what = 'response') => '/2018-06-01/runtime/invocation/' + id + '/' + what
const message = (method, path, body = '', headers = '') =>
  method + ' ' + path + ' HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: ' + Buffer.byteLength(body) + '\\r\\n' + headers + '\\r\\n' + body
// One connection, whatever bytes; resolves with what came back when it is closed, or after a while.
const raw = (bytes, waitMs = 3000) => new Promise((resolve) => {
  const socket = net.connect('/run/forkyard/api.sock')
  let text = ''
  const end = () => { socket.destroy(); resolve(text) }
  socket.setTimeout(waitMs, end)
  socket.on('data', (part) => { text += part; if (text.includes('\\r\\n\\r\\n') && text.endsWith('}')) end() })
  socket.on('error', end)
  socket.on('close', end)
  socket.write(bytes)
})
const status = async (bytes, waitMs) => Number(/^HTTP\\/1\\.1 (\\d+)/.exec(await raw(bytes, waitMs))?.[1] ?? 0)
`

const createAttacker = async (body: string, input = {}): Promise<string> => {
  const name = uniqueName('attacker')
  const source = `${tools}\nexport const handler = async (event, context) => {\n${body}\n}`
  await createFunction(client, name, source, { MemorySize: 256, ...input })
  return name
}

let peer: Peer
beforeAll(async () => void (peer = await createPeer(client)))

/** The most that the agent held meanwhile, beyond what it held before. */
const watchingAgent = async <T>(
  work: () => Promise<T>,
): Promise<{ result: T; descriptors: number; memoryMiB: number }> => {
  const held = () => readdirSync(`/proc/${pidOf(target, 'node-agent')}/fd`).length
  const before = { descriptors: held(), memoryMiB: agentMemoryMiB(target) }
  const most = { ...before }
  const over = new AbortController()
  const watching = (async () => {
    while (!over.signal.aborted) {
      most.descriptors = Math.max(most.descriptors, held())
      most.memoryMiB = Math.max(most.memoryMiB, agentMemoryMiB(target))
      await delay(20)
    }
  })()
  try {
    const result = await peer.during(work)
    return {
      result,
      descriptors: most.descriptors - before.descriptors,
      memoryMiB: most.memoryMiB - before.memoryMiB,
    }
  } finally {
    over.abort()
    await watching
  }
}

/** Id of an invocation that has begun. */
const inHand = async (name: string): Promise<string> =>
  vi.waitFor(
    async () => {
      const lines = (await storedMessages<LogRecord[]>(target, 'LOGS', `logs.*.${name}`)).flat()
      const id = lines.find(({ line }) => line.includes('in hand'))?.invocationId
      if (id === undefined) throw new Error('not begun')
      return id
    },
    { timeout: 3_500, interval: 50 },
  )

describe('answers', () => {
  it('to invocations of others, to finished ones and to none are refused, and change nothing', async () => {
    // Two instances of one function, and one of another: what each has in hand is nobody else's.
    const slow = uniqueName('slow')
    const slowSource = `export const handler = async () => { console.log('in hand'); await new Promise((r) => setTimeout(r, 4000)); return 'its own answer' }`
    await createFunction(client, slow, slowSource, { MemorySize: 128 })
    const forger = await createAttacker(`
  if (event.wait) { console.log('in hand'); await sleep(4000); return 'its own answer' }
  const statuses = {}
  for (const [kind, id] of Object.entries(event.ids))
    statuses[kind] = [await status(message('POST', answer(id), '"forged"')), await status(message('POST', answer(id, 'error'), '{"errorType":"Forged"}'))]
  return statuses`)
    const finished = (await invoke(client, forger, { ids: {} })).requestId
    const victims = [invoke(client, slow), invoke(client, forger, { wait: true })]
    const ids = {
      ofAnotherFunction: await inHand(slow),
      ofAnotherInstance: await inHand(forger),
      finished,
      never: '7b1f6f0e-9f5e-4c3a-8d0d-3f0c3c7a1111',
      path: '..%2f..%2fv1',
      long: 'a'.repeat(20_000),
    }
    const { json, text } = await invoke(client, forger, { ids })
    expect(json, text).toEqual(Object.fromEntries(Object.keys(ids).map((kind) => [kind, [400, 400]])))
    for (const victim of victims)
      expect(await victim).toMatchObject({ json: 'its own answer', functionError: undefined })
  })

  it('count once: the first is the caller’s, a second is refused', async () => {
    const name = await createAttacker(`
  const own = answer(context.awsRequestId)
  const first = status(message('POST', own, '"first"'))
  console.log('statuses', await first, await status(message('POST', own, '"second"')), await status(message('POST', answer(context.awsRequestId, 'error'), '{}')))
  return 'third'`)
    const { json, functionError } = await invoke(client, name)
    expect([json, functionError]).toEqual(['first', undefined])
    await vi.waitFor(
      async () => {
        const lines = (await storedMessages<LogRecord[]>(target, 'LOGS', `logs.*.${name}`))
          .flat()
          .map(({ line }) => line)
        expect(lines.find((line) => line.includes('statuses'))).toMatch(/statuses 202 40[03] 40[03]/)
      },
      { timeout: 10_000, interval: 100 },
    )
    expect((await invoke(client, name)).json).toBe('first')
    const records = await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${name}.>`)
    expect(new Set(records.map(({ invocationId }) => invocationId)).size).toBe(records.length)
  })

  it('after the deadline come too late, however many', async () => {
    const name = await createAttacker(
      `const until = Date.now() + context.getRemainingTimeInMillis()
  while (Date.now() < until) await sleep(1)
  for (;;) await status(message('POST', answer(context.awsRequestId), '"too late"'), 50)`,
      { Timeout: 1 },
    )
    expect((await invoke(client, name)).json).toMatchObject({ errorType: 'Sandbox.Timedout' })
  })

  it('that break off in the middle fail their own invocation alone', async () => {
    const name = await createAttacker(`
  if (event.fine) return 'fine'
  const socket = net.connect('/run/forkyard/api.sock')
  socket.write('POST ' + answer(context.awsRequestId) + ' HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 1000\\r\\n\\r\\nonly this')
  await sleep(100)
  socket.destroy()
  await sleep(20_000)`)
    expect(await peer.during(() => invoke(client, name))).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'Runtime.ExitError' },
    })
    expect((await invoke(client, name, { fine: true })).json).toBe('fine')
  })
})

describe('requests', () => {
  it('for what is no part of the Runtime API are refused; no other socket is there', async () => {
    const paths = [
      'GET /v1/instances',
      'POST /v1/instances',
      'DELETE /v1/instances/x',
      'GET /v1/seeds',
      'POST /v1/invocations/x',
      'GET /metrics',
      'GET /healthz',
      'GET /readyz',
      'GET /2018-06-01/runtime/../../v1/instances',
      'GET http://127.0.0.1/v1/instances',
      'OPTIONS *',
      'GET //',
      'CONNECT 127.0.0.1:80',
    ]
    const name = await createAttacker(`
  const statuses = []
  for (const line of event.paths) { const [method, path] = line.split(' '); statuses.push(await status(message(method, path))) }
  return {
    statuses,
    next: await status(message('GET', '/2018-06-01/runtime/invocation/next')),
    initError: await status(message('POST', '/2018-06-01/runtime/init/error', '{"errorType":"Late"}')),
    assignment: JSON.parse((await raw(message('GET', '/forkyard/v1/assignment'))).split('\\r\\n\\r\\n')[1]).environment.AWS_LAMBDA_FUNCTION_NAME,
    sockets: fs.readdirSync('/run/forkyard'),
  }`)
    const { json, text } = await invoke(client, name, { paths }, { start: 'restore' })
    const { statuses, ...rest } = json as { statuses: number[] }
    for (const [index, found] of statuses.entries())
      expect([0, 400, 404, 500], `${paths[index]}: ${text}`).toContain(found)
    expect(rest).toEqual({ next: 403, initError: 202, assignment: name, sockets: ['api.sock'] })
    expect(await invoke(client, name, { paths: [] })).toMatchObject({ startType: 'warm', functionError: undefined })
  })

  it.each<[string, string]>([
    [
      'half a request on each of 10,000 connections',
      `let opened = 0
  for (let batch = 0; batch < 50; batch++)
    await Promise.all(Array.from({ length: 200 }, () => new Promise((resolve) => {
      const socket = net.connect('/run/forkyard/api.sock', () => { opened++; socket.write('POST /2018-06-01/runtime/invocation/'); setTimeout(() => socket.destroy(), 5) })
      socket.on('error', () => {})
      socket.on('close', resolve)
    })))
  return opened === 10000`,
    ],
    [
      'a request a byte at a time on each of 900 connections',
      `const sockets = Array.from({ length: 900 }, () => net.connect('/run/forkyard/api.sock').on('error', () => {}))
  for (const byte of 'GET /2018-06-01/runtime/x') { for (const socket of sockets) if (socket.writable) socket.write(byte); await sleep(20) }
  const open = sockets.filter((socket) => !socket.closed && socket.readyState === 'open').length
  for (const socket of sockets) socket.destroy()
  return open <= 40`,
    ],
    [
      'headers without end',
      `const header = 'x-pad: ' + 'x'.repeat(8000) + '\\r\\n'
  for (let i = 0; i < 20; i++) await raw('GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nhost: x\\r\\n' + header.repeat(2000))
  return true`,
    ],
    [
      'a hundred thousand requests in a row whose answers nobody reads',
      `const socket = net.connect('/run/forkyard/api.sock').on('error', () => {})
  socket.pause()
  const many = message('GET', '/2018-06-01/runtime/invocation/next').repeat(1000)
  for (let i = 0; i < 100 && socket.writable; i++) if (!socket.write(many)) await Promise.race([new Promise((r) => socket.once('drain', r)), sleep(50)])
  await sleep(500)
  socket.destroy()
  return true`,
    ],
    [
      'an error report of 200 MB',
      `await raw(message('POST', '/2018-06-01/runtime/init/error', 'x'.repeat(200 * 1024 * 1024)))
  return true`,
    ],
  ])('that are %s cost the node little, and others nothing', async (_what, body) => {
    const name = await createAttacker(`if (event === 'fine') return 'fine'\n${body}`, { Timeout: 60, MemorySize: 1024 })
    const { result, descriptors, memoryMiB } = await watchingAgent(() => invoke(client, name, {}, { start: 'restore' }))
    expect(result.json, result.text).toBe(true)
    // 34 connections of this instance, and what its start and its neighbour need.
    expect(descriptors).toBeLessThan(100)
    expect(memoryMiB).toBeLessThan(200)
    // And it serves on.
    expect(await invoke(client, name, 'fine')).toMatchObject({ json: 'fine', startType: 'warm' })
    await vi.waitFor(async () => expect(await leftoversOf(target)).toEqual([]), { timeout: 15_000, interval: 200 })
  })
})
