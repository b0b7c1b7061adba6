import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { buildRunner, startSeed, type BuiltRunner, type SeedProcess } from '../../test/runner-process.ts'

let built: BuiltRunner
let seed: SeedProcess
// Many processes, on a machine that may have other things to do.
vi.setConfig({ testTimeout: 60_000 })
beforeAll(async () => {
  built = await buildRunner()
}, 60_000)
afterAll(() => built.remove())
afterEach(() => seed.stop())

const start = async (source: string) => (seed = await startSeed(built, { 'index.mjs': source }))

test('each fork answers at its own socket, writes to its own output, and goes on from what the seed had loaded', async () => {
  await start(`let n = 41
import { threadId, Worker } from 'node:worker_threads'
import { gunzipSync, gzip } from 'node:zlib'
import { promisify } from 'node:util'
export const handler = async () => {
  console.log('hello from', process.env.AWS_LAMBDA_LOG_STREAM_NAME)
  const zipped = await promisify(gzip)('zip')
  const worker = await new Promise((resolve, reject) => new Worker("require('node:worker_threads').parentPort.postMessage('worker')", { eval: true }).once('message', resolve).once('error', reject))
  return { n: ++n, pid: process.pid, id: process.env.AWS_LAMBDA_LOG_STREAM_NAME, text: gunzipSync(zipped).toString(), worker, fetched: typeof fetch }
}`)
  expect(seed.hello).toEqual({ ready: true })
  const forks = await Promise.all([seed.fork(), seed.fork(), seed.fork()])
  for (const fork of forks) {
    const { body } = await fork.node.invoke({})
    expect(JSON.parse(body.toString())).toEqual({
      n: 42,
      pid: fork.pid,
      id: fork.id,
      text: 'zip',
      worker: 'worker',
      fetched: 'function',
    })
    expect(fork.output()).toContain(`hello from ${fork.id}`)
  }
  expect(JSON.parse((await forks[0].node.invoke({})).body.toString())).toMatchObject({ n: 43 })
})

test('forks draw different numbers', async () => {
  await start(`import crypto from 'node:crypto'
import vm from 'node:vm'
crypto.randomUUID(); Math.random(); crypto.randomInt(5)
const context = vm.createContext({})
export const handler = async () => [Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString('hex'), crypto.randomInt(2 ** 40), vm.runInNewContext('Math.random()'), vm.runInContext('Math.random()', context), Date.now() - performance.timeOrigin - performance.now() < 1000]`)
  const draws: unknown[][] = []
  for (let index = 0; index < 10; index++) {
    const fork = await seed.fork()
    draws.push(JSON.parse((await fork.node.invoke({})).body.toString()) as unknown[])
    await fork.kill()
  }
  for (let kind = 0; kind < 6; kind++) expect(new Set(draws.map((draw) => draw[kind])).size).toBe(10)
  expect(draws.every((draw) => draw[6] === true)).toBe(true)
})

test('what a fork does to itself harms neither the seed nor its siblings, and is reported', async () => {
  await start(`import { spawn } from 'node:child_process'
export const handler = async (event) => {
  if (event === 'exit') process.exit(7)
  if (event === 'throw') setImmediate(() => { throw new Error('nobody catches this') })
  if (event === 'hang') for (;;);
  if (event === 'buffers') { const all = []; for (;;) all.push(Buffer.alloc(2 ** 20, 1)) }
  if (event === 'child') spawn(process.execPath, ['-e', 'const all = []; setInterval(() => all.push(Buffer.alloc(2 ** 22, 1)), 1)'])
  if (event === 'bomb') for (let n = 0; n < 100; n++) spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' })
  if (event === 'memory') { const all = []; for (;;) all.push(new Array(10_000).fill(Math.random())) }
  if (event === 'orphan') return spawn('sleep', ['1000'], { detached: true }).pid
  if (['throw', 'child', 'bomb'].includes(event)) await new Promise(() => {})
  return 'fine'
}`)
  const sibling = await seed.fork()
  const exiting = await seed.fork()
  void exiting.node.invoke('exit')
  expect(await exiting.ended).toEqual({ status: 7 << 8, cause: 'within-limits' })
  const throwing = await seed.fork()
  expect((await throwing.node.invoke('throw')).kind).toBe('error')
  expect(await throwing.ended).toEqual({ status: 129 << 8, cause: 'within-limits' })
  const hanging = await seed.fork()
  void hanging.node.invoke('hang')
  await hanging.kill()
  expect(await hanging.ended).toEqual({ status: 9, cause: 'within-limits' })
  for (const event of ['memory', 'buffers', 'child']) {
    const hungry = await seed.fork()
    void hungry.node.invoke(event)
    expect(await hungry.ended, event).toMatchObject({ cause: 'memory' })
    if (event === 'buffers') expect(hungry.usedMiB()).toBeGreaterThan(128)
  }
  const bomb = await seed.fork()
  void bomb.node.invoke('bomb')
  expect(await bomb.ended).toEqual({ status: 9, cause: 'processes' })
  expect(sibling.usedMiB()).toBeLessThan(128)
  expect((await sibling.node.invoke({})).body.toString()).toBe('"fine"')
  expect((await (await seed.fork()).node.invoke({})).body.toString()).toBe('"fine"')
}, 60_000)

test('after a long time with nothing to do, a seed is forked at once, and a fork is watched from its next request on', async () => {
  await start(`export const handler = async (event) => {
  const kept = []
  for (let n = 0; event === 'grow' && n < 400; n++) {
    kept.push(Buffer.alloc(2 ** 20, 1))
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return 'not seen'
}`)
  const fork = await seed.fork()
  await fork.node.invoke({})
  await delay(3000)
  expect((await (await seed.fork()).node.invoke({})).body.toString()).toBe('"not seen"')
  await delay(3000)
  void fork.node.invoke('grow')
  expect(await fork.ended).toEqual({ status: 9, cause: 'memory' })
})

test.each([
  ['timer', 'setInterval(() => {}, 1000)'],
  ['timer', 'setTimeout(() => {}, 100_000).unref()'],
  ['server', `import net from 'node:net'; net.createServer().listen(0).unref()`],
  ['server', `import net from 'node:net'; net.createServer().listen(0, '127.0.0.1')`],
  ['descriptor', `import fs from 'node:fs'; fs.openSync('/etc/hostname')`],
  [
    'worker',
    `import { Worker } from 'node:worker_threads'; new Worker('setInterval(() => {}, 1000)', { eval: true }).unref()`,
  ],
  ['signal', `process.on('SIGTERM', () => {})`],
  ['file watcher', `import fs from 'node:fs'; fs.watch('/tmp').unref()`],
])('a function that opens a %s at its initialisation is told to be unfit: %s', async (reason, source) => {
  await start(`${source}\nexport const handler = async () => 1`)
  expect(seed.hello).toEqual({ unfit: expect.stringContaining(reason) })
})

test('what initialisation has finished with is no obstacle', async () => {
  await start(`import fs from 'node:fs'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
await fs.promises.readFile('/etc/hostname')
await new Promise((resolve) => setTimeout(resolve, 5))
await promisify(zlib.gzip)('a')
void fs.promises.readFile('/etc/hostname')
export const handler = async () => (await Promise.all(Array.from({ length: 20 }, () => promisify(zlib.gzip)('a')))).length`)
  expect(seed.hello).toEqual({ ready: true })
  const forks = await Promise.all([seed.fork(), seed.fork()])
  for (const fork of [...forks, ...forks]) expect((await fork.node.invoke({})).body.toString()).toBe('20')
})

test('the seed ends with the connection of the node', async () => {
  await start('export const handler = async () => 1')
  const fork = await seed.fork()
  seed.disconnect()
  expect(await seed.exited).toBe(0)
  void fork
})
