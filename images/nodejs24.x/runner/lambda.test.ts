import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Assignment } from '../../../services/contracts/runtime-api.ts'
import { buildRunner, startRunner, type BuiltRunner, type RunnerProcess } from '../../test/runner-process.ts'

let built: BuiltRunner
let runner: RunnerProcess
beforeAll(async () => {
  built = await buildRunner()
}, 60_000)
afterAll(() => built.remove())
afterEach(() => runner.stop())

const start = async (files: string | Record<string, string>, assignment: Partial<Assignment> = {}) => {
  runner = await startRunner(built, typeof files === 'string' ? { 'index.cjs': files } : files, assignment)
  return runner
}
const answerOf = async (event: unknown = {}) => {
  const { kind, body } = await runner.node.invoke(event)
  return { kind, value: JSON.parse(body.toString()) as Record<string, unknown> }
}

test('an async handler gets the event and the context', async () => {
  await start(
    `exports.handler = async (event, context) => ({ event, id: context.awsRequestId, arn: context.invokedFunctionArn,
       left: context.getRemainingTimeInMillis() > 20000, memory: context.memoryLimitInMB, client: context.clientContext })`,
    { environment: { AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128' } },
  )
  const answer = await runner.node.invoke(
    { a: 'ä' },
    { id: 'id-1', headers: { 'Lambda-Runtime-Client-Context': Buffer.from('{"custom":"ö"}').toString('latin1') } },
  )
  expect(JSON.parse(answer.body.toString())).toEqual({
    event: { a: 'ä' },
    id: 'id-1',
    arn: 'arn:aws:lambda:us-east-1:000000000000:function:f',
    left: true,
    memory: '128',
    client: { custom: 'ö' },
  })
  expect(runner.node.kinds[0]).toBe('lambda')
})

test.each([
  ['CommonJS .js', { 'index.js': 'exports.handler = async () => "cjs"' }, 'index.handler', 'cjs'],
  [
    '.mjs with top-level await',
    { 'index.mjs': 'const v = await Promise.resolve("mjs"); export const handler = async () => v' },
    'index.handler',
    'mjs',
  ],
  [
    '.js in a module package',
    { 'package.json': '{"type":"module"}', 'index.js': 'export const handler = () => "esm"' },
    'index.handler',
    'esm',
  ],
  [
    'a nested path',
    { 'src/app/main.js': 'exports.api = { v1: { run() { return this.name }, name: "nested" } }' },
    'src/app/main.api.v1.run',
    'nested',
  ],
  ['module.exports as default', { 'index.js': 'module.exports = async () => "whole"' }, 'index.default', 'whole'],
  [
    'a package of its own',
    {
      'index.mjs': 'import v from "dep"; export const handler = () => v',
      'node_modules/dep/index.js': 'module.exports = "dep"',
    },
    'index.handler',
    'dep',
  ],
])('loads %s', async (_name, files, handler, expected) => {
  await start(files, { handler })
  expect((await answerOf()).value).toBe(expected)
})

test('callbacks answer with a result, an error, or when the event loop is empty', async () => {
  await start(`exports.handler = (event, context, callback) => {
    if (event.now) context.callbackWaitsForEmptyEventLoop = false
    if (event.fail) return callback(new TypeError('no'))
    let late = false
    setTimeout(() => { late = true }, event.now ? 10000 : 50)
    const result = { get late() { return late } }
    if (!event.never) callback(null, result)
  }`)
  expect(await answerOf({})).toEqual({ kind: 'response', value: { late: true } })
  expect((await answerOf({ fail: true })).value).toMatchObject({ errorType: 'TypeError', errorMessage: 'no' })
  expect(await answerOf({ never: true })).toEqual({ kind: 'response', value: null })
  expect(await answerOf({ now: true })).toEqual({ kind: 'response', value: { late: false } })
})

test('a promise that nothing can settle any more fails the invocation', async () => {
  await start('exports.handler = (event) => event.hang ? new Promise(() => {}) : 1')
  expect((await answerOf({ hang: true })).value).toMatchObject({ errorType: 'Runtime.NodeJsExit' })
  expect((await answerOf()).value).toBe(1)
})

test('what a handler throws becomes the error of the invocation, and the instance goes on', async () => {
  await start(`class Mine extends Error { constructor(m) { super(m); this.name = 'Mine' } }
    exports.handler = async ({ how }) => {
      if (how === 'error') throw new Mine('broken')
      if (how === 'text') throw 'just text'
      if (how === 'cycle') { const a = {}; a.a = a; return a }
      if (how === 'function') return () => 1
      return undefined
    }`)
  const { kind, value } = await answerOf({ how: 'error' })
  expect(kind).toBe('error')
  expect(value).toMatchObject({ errorType: 'Mine', errorMessage: 'broken' })
  expect((value['trace'] as string[])[0]).toBe('Mine: broken')
  expect((await answerOf({ how: 'text' })).value).toEqual({ errorType: 'string', errorMessage: 'just text', trace: [] })
  expect((await answerOf({ how: 'cycle' })).value).toMatchObject({ errorType: 'Runtime.MarshalError' })
  expect((await answerOf({ how: 'function' })).value).toMatchObject({ errorType: 'Runtime.MarshalError' })
  expect(await answerOf({ how: 'undefined' })).toEqual({ kind: 'response', value: null })
})

test.each([
  ['a module that is missing', {}, 'index.handler', 'Runtime.ImportModuleError'],
  ['a dependency that is missing', { 'index.mjs': 'import "nowhere"' }, 'index.handler', 'Runtime.ImportModuleError'],
  ['an export that is missing', { 'index.js': '' }, 'index.handler', 'Runtime.HandlerNotFound'],
  ['an export that is no function', { 'index.js': 'exports.handler = 1' }, 'index.handler', 'Runtime.HandlerNotFound'],
  ['a syntax error', { 'index.js': 'exports.handler = (' }, 'index.handler', 'Runtime.UserCodeSyntaxError'],
  ['a name without export', { 'index.js': '' }, 'index', 'Runtime.MalformedHandlerName'],
  ['a module that throws', { 'index.js': 'throw new RangeError("at load")' }, 'index.handler', 'RangeError'],
  [
    'a module whose timer throws',
    { 'index.mjs': 'setTimeout(() => { throw new RangeError() }); await new Promise(() => setTimeout(() => {}, 9e3))' },
    'index.handler',
    'RangeError',
  ],
])('reports %s as an init error and ends', async (_name, files, handler, errorType) => {
  await start(files, { handler })
  expect(await runner.node.initError).toMatchObject({ errorType })
  expect(await runner.exited).not.toBe(0)
})

test('an exception that nobody caught fails its invocation and ends the process', async () => {
  await start('exports.handler = () => new Promise(() => setTimeout(() => { throw new RangeError("late") }, 5))')
  expect((await answerOf()).value).toMatchObject({ errorType: 'RangeError', errorMessage: 'late' })
  expect(await runner.exited).toBe(129)
})

test('a rejection that nobody handled fails its invocation and ends the process', async () => {
  await start(
    'exports.handler = () => new Promise(() => { Promise.reject(new Error("lost")); setTimeout(() => {}, 9e3) })',
  )
  expect((await answerOf()).value).toMatchObject({
    errorType: 'Runtime.UnhandledPromiseRejection',
    errorMessage: 'Error: lost',
  })
  expect(await runner.exited).toBe(128)
})

test('log lines carry time, request id and level, and the last one before an exit is not lost', async () => {
  await start(
    `exports.handler = async () => { console.warn('careful %d', 1); console.error('x'.repeat(100000) + 'END'); process.exit(7) }`,
  )
  void runner.node.invoke({}, { id: 'id-2' })
  expect(await runner.exited).toBe(7)
  expect(runner.output()).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z\tid-2\tWARN\tcareful 1$/m)
  expect(runner.output()).toMatch(/xEND\n$/)
})

test('the environment is the assignment and nothing else, in the directory of the code', async () => {
  await start('exports.handler = async () => ({ ...process.env, cwd: process.cwd() })', {
    environment: { MINE: '1', TZ: 'Asia/Tokyo' },
  })
  const { body } = await runner.node.invoke({}, { headers: { 'Lambda-Runtime-Trace-Id': 'trace-1' } })
  const value = JSON.parse(body.toString()) as Record<string, string>
  expect(value).toMatchObject({ MINE: '1', HOME: '/tmp', cwd: runner.node.dir, _X_AMZN_TRACE_ID: 'trace-1' })
  expect(Object.keys(value).filter((name) => name.startsWith('FORKYARD') || name === 'ONLY_BEFORE')).toEqual([])
  expect((await answerOf()).value).not.toHaveProperty('_X_AMZN_TRACE_ID')
})

test('of NODE_OPTIONS, modules to load come first and what has no effect is named', async () => {
  await start(
    {
      'index.js': 'exports.handler = async () => globalThis.loaded',
      'one.cjs': 'globalThis.loaded = ["one"]',
      'two.mjs': 'globalThis.loaded.push("two")',
    },
    { environment: { NODE_OPTIONS: '--require ./one.cjs --import=./two.mjs --enable-source-maps --stack-size=900' } },
  )
  expect((await answerOf()).value).toEqual(['one', 'two'])
  expect(runner.output()).toContain('WARN\tNODE_OPTIONS: no effect in this runtime: --stack-size\n')
})

test('V8 collects within the memory of the function, and leaves its end to the control group', async () => {
  await start(
    `exports.handler = async ({ mb }) => { const a = []; for (let i = 0; i < mb * 9000; i++) a.push({ i, s: [i, i] })
       return require('v8').getHeapStatistics().heap_size_limit / 2 ** 20 }`,
    { environment: { AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128' } },
  )
  expect((await answerOf({ mb: 1 })).value).toBeLessThan(160)
  expect((await answerOf({ mb: 200 })).value).toBeGreaterThan(200)
})

test('several requests at a time keep their ids apart', async () => {
  await start(
    `exports.handler = async ({ ms }, { awsRequestId }) => { await new Promise((r) => setTimeout(r, ms)); console.log('of ' + awsRequestId); return awsRequestId }`,
    { concurrency: 3 },
  )
  const ids = ['a', 'b', 'c']
  const answers = await Promise.all(ids.map((id, index) => runner.node.invoke({ ms: 60 - index * 20 }, { id })))
  expect(answers.map(({ body }) => JSON.parse(body.toString()) as string)).toEqual(ids)
  for (const id of ids) expect(runner.output()).toMatch(new RegExp(`\\t${id}\\tINFO\\tof ${id}\n`))
})

test('a payload of 6 MB goes both ways', async () => {
  await start('exports.handler = async (event) => event')
  const text = 'ä'.repeat(3 * 1024 * 1024 - 10)
  expect((await answerOf({ text })).value['text']).toBe(text)
})
