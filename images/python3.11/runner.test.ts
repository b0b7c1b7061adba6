/** The runner as in the image, run by the machine's own Python, which `mmdebstrap` needs too. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import type { Assignment } from '../../services/contracts/runtime-api.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { startProcess, type RunnerProcess } from '../test/runner-process.ts'
import { copyRunner } from './install.ts'

const python = '/usr/bin/python3'
let dir: string
let runner: RunnerProcess | undefined
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fy-python-'))
  copyRunner(dir)
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))
afterEach(async () => {
  await runner?.stop()
  runner = undefined
})

const start = async (files: string | Record<string, string>, assignment: Partial<Assignment> = {}) => {
  const flags = runtimeCommands['python3.11'].slice(1, -1)
  const source = typeof files === 'string' ? { 'index.py': files } : files
  runner = await startProcess([python, ...flags, join(dir, 'bootstrap.py')], source, assignment)
  return runner
}

const answerOf = async ({ node }: RunnerProcess, event: unknown = {}, id?: string) => {
  const { kind, body } = await node.invoke(event, id === undefined ? {} : { id })
  return { kind, value: JSON.parse(body.toString()) as unknown }
}

const utf8Header = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('latin1')

test('a handler gets the event and a context with every documented member', async () => {
  const { node } = await start(
    `def handler(event, c):
    c.get_remaining_time_in_millis() > 20000 or 1 / 0
    client = c.client_context and [c.client_context.client.app_title, c.client_context.custom, c.client_context.env]
    return [event, c.aws_request_id, c.invoked_function_arn, c.function_name, c.function_version, c.memory_limit_in_mb,
            c.log_group_name, c.log_stream_name, client, c.identity.cognito_identity_id, c.identity.cognito_identity_pool_id]
`,
    {
      environment: {
        AWS_LAMBDA_FUNCTION_NAME: 'f',
        AWS_LAMBDA_FUNCTION_VERSION: '7',
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128',
        AWS_LAMBDA_LOG_GROUP_NAME: 'group',
        AWS_LAMBDA_LOG_STREAM_NAME: 'stream',
      },
    },
  )
  const client = { client: { app_title: 'App' }, custom: { a: 'ö' }, env: { locale: 'de' } }
  const given = await node.invoke(
    { a: 'ä' },
    {
      id: 'id-1',
      headers: {
        'Lambda-Runtime-Client-Context': utf8Header(client),
        'Lambda-Runtime-Cognito-Identity': utf8Header({ cognitoIdentityId: 'me', cognitoIdentityPoolId: 'pool' }),
      },
    },
  )
  const arn = 'arn:aws:lambda:us-east-1:000000000000:function:f'
  const own = [{ a: 'ä' }, 'id-1', arn, 'f', '7', '128', 'group', 'stream']
  expect(JSON.parse(given.body.toString())).toEqual([...own, ['App', client.custom, client.env], 'me', 'pool'])
  const plain = await node.invoke({ a: 'ä' }, { id: 'id-1' })
  expect(JSON.parse(plain.body.toString())).toEqual([...own, null, null, null])
  expect(node.kinds[0]).toBe('lambda')
})

const returns = (value: string) => `def handler(event, context):\n    return ${value}\n`

test.each([
  ['a module', { 'index.py': returns('"module"') }, 'index.handler', 'module'],
  ['a module in packages', { 'a/__init__.py': '', 'a/b.py': returns('__name__') }, 'a.b.handler', 'a.b'],
  ['a module in a folder', { 'dir/sub/module.py': returns('"folder"') }, 'dir/sub/module.handler', 'folder'],
  ['a package', { 'app/__init__.py': 'from .inner import handler', 'app/inner.py': returns('1') }, 'app.handler', 1],
  [
    'its own dependencies',
    { 'index.py': `from dep import value\n${returns('value')}`, 'dep/__init__.py': 'value = 2' },
    'index.handler',
    2,
  ],
  ['a module named like one of the library', { 'logging.py': returns('"mine"') }, 'logging.handler', 'mine'],
  [
    'modules of PYTHONPATH',
    { 'index.py': `import far\n${returns('far.value')}`, 'lib/far.py': 'value = 3' },
    'index.handler',
    3,
  ],
])('loads %s', async (_name, files: Record<string, string>, handler, expected) => {
  const { node } = await start(files, { handler, environment: { PYTHONPATH: 'lib' } })
  expect(JSON.parse((await node.invoke({})).body.toString())).toBe(expected)
})

test('what a handler raises becomes the error of the invocation, in Lambda’s words, and the instance goes on', async () => {
  const run = await start(`import asyncio
class Mine(Exception):
    pass
class Shy(Exception):
    def __str__(self):
        raise ValueError
def inner(how):
    if how == "mine":
        raise Mine("bröken")
    if how == "shy":
        raise Shy
    if how == "cancelled":
        raise asyncio.CancelledError("no")
    if how == "deep":
        return (lambda: inner(how))()
    if how == "long":
        raise ValueError("x" * 1000000)
def handler(event, context):
    return inner(event["how"])
`)
  const { kind, value } = await answerOf(run, { how: 'mine' }, 'id-1')
  expect(kind).toBe('error')
  const file = join(run.node.dir, 'index.py')
  const stackTrace = [
    `  File "${file}", line 19, in handler\n    return inner(event["how"])\n`,
    `  File "${file}", line 9, in inner\n    raise Mine("bröken")\n`,
  ]
  expect(value).toEqual({ errorMessage: 'bröken', errorType: 'Mine', requestId: 'id-1', stackTrace })
  const logged = `[ERROR] Mine: bröken\nTraceback (most recent call last):\n${stackTrace.join('')}`
  await vi.waitFor(() => expect(run.output()).toContain(logged))
  expect((await answerOf(run, { how: 'shy' })).value).toMatchObject({ errorType: 'Shy' })
  expect((await answerOf(run, { how: 'cancelled' })).value).toMatchObject({ errorType: 'CancelledError' })
  const deep = (await answerOf(run, { how: 'deep' })).value as { errorType: string; stackTrace: string[] }
  expect(deep.errorType).toBe('RecursionError')
  expect(deep.stackTrace).toHaveLength(101)
  expect(JSON.stringify((await answerOf(run, { how: 'long' })).value).length).toBeLessThan(100_000)
  expect(await answerOf(run, { how: 'fine' })).toEqual({ kind: 'response', value: null })
  expect((await answerOf(run, {})).value).toMatchObject({ errorType: 'KeyError', errorMessage: "'how'" })
})

test('results and events that are no JSON are named', async () => {
  const run = await start(`import decimal
def handler(event, context):
    cycle = []
    cycle.append(cycle)
    return eval(event)
`)
  const marshal = (value: string) => answerOf(run, value)
  expect((await marshal('{1}')).value).toEqual({
    errorMessage: 'Unable to marshal response: Object of type set is not JSON serializable',
    errorType: 'Runtime.MarshalError',
    requestId: expect.any(String) as string,
    stackTrace: [],
  })
  for (const value of ['cycle', 'float("nan")', 'b"bytes"', '{(1, 2): 3}'])
    expect((await marshal(value)).value).toMatchObject({ errorType: 'Runtime.MarshalError' })
  expect((await marshal('[decimal.Decimal("1.5"), "ä", {1: None}]')).value).toEqual([1.5, 'ä', { 1: null }])
  const exact = await run.node.invoke('[decimal.Decimal("12345678901234567890.10"), "x"]')
  expect(exact.body.toString()).toBe('[12345678901234567890.10, "x"]')
  expect((await marshal('"\\ud800"')).value).toBe('\ud800')
  const { kind, body } = await run.node.invoke(Buffer.from('{'))
  expect([kind, JSON.parse(body.toString())]).toMatchObject(['error', { errorType: 'Runtime.UnmarshalError' }])
})

test.each([
  [
    'a module that is missing',
    {},
    'index.handler',
    'Runtime.ImportModuleError',
    "Unable to import module 'index': No module named 'index'",
  ],
  [
    'a dependency that is missing',
    { 'index.py': 'import nowhere' },
    'index.handler',
    'Runtime.ImportModuleError',
    "Unable to import module 'index': No module named 'nowhere'",
  ],
  [
    'a function that is missing',
    { 'index.py': '' },
    'index.handler',
    'Runtime.HandlerNotFound',
    "Handler 'handler' missing on module 'index'",
  ],
  ['what is no function', { 'index.py': 'handler = 1' }, 'index.handler', 'Runtime.HandlerNotFound', 'not callable'],
  [
    'a syntax error',
    { 'index.py': 'def handler(:\n' },
    'index.handler',
    'Runtime.UserCodeSyntaxError',
    "Syntax error in module 'index': invalid syntax (index.py, line 1)",
  ],
  ['a name without function', { 'index.py': '' }, 'index', 'Runtime.MalformedHandlerName', "Bad handler 'index'"],
  ['a built-in module', { 'sys.py': '' }, 'sys.handler', 'Runtime.BuiltInModuleConflict', 'module sys'],
  ['a name that climbs', { 'index.py': '' }, '../index.handler', 'Runtime.MalformedHandlerName', 'Bad handler'],
  ['a module that raises', { 'index.py': 'raise KeyError("at load")' }, 'index.handler', 'KeyError', "'at load'"],
])(
  'reports %s as an init error and ends',
  async (_name, files: Record<string, string>, handler, errorType, message) => {
    const { node, exited, output } = await start(files, { handler })
    const error = (await node.initError) as Record<string, unknown>
    expect(error).toMatchObject({ errorType, errorMessage: expect.stringContaining(message), requestId: '' })
    expect(Array.isArray(error['stackTrace'])).toBe(true)
    if (errorType === 'KeyError') expect((error['stackTrace'] as string[])[0]).toContain('index.py", line 1')
    expect(await exited).toBe(1)
    expect(output()).toContain(`[ERROR] ${errorType}: `)
  },
)

test('nothing that was printed or logged is lost when the process ends in the next line', async () => {
  const run = await start(`import atexit, logging, os, sys, threading, time
atexit.register(lambda: print("at exit"))
def handler(event, context):
    logging.getLogger().setLevel(logging.INFO)
    logging.info("careful %d", 1)
    logging.getLogger("mine").warning("two\\nlines")
    print("out", 1, end="")
    print("err", file=sys.stderr)
    sys.stdout.buffer.write(b"raw\\n")
    print("x" * 100000 + "END", end="")
    threading.Thread(target=lambda: time.sleep(60)).start()
    sys.exit(7)
`)
  void run.node.invoke({}, { id: 'id-2' })
  expect(await run.exited).toBe(7)
  expect(run.output()).toMatch(/^\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tid-2\tcareful 1$/m)
  expect(run.output()).toMatch(/^\[WARNING\]\t\S+\tid-2\ttwo\nlines$/m)
  expect(run.output()).toContain('out 1')
  // Two pipes have no order between them: the one's line may have come amid the other's.
  expect(run.output()).toContain('err\n')
  expect(run.output().replace('err\n', '')).toMatch(/xENDat exit\n/)
})

test('the environment is the assignment and nothing else, in the directory of the code', async () => {
  const run = await start(
    `import os, subprocess, sys, time
def handler(event, context):
    child = [sys.executable, "-c", "import index; print(index.__name__)"]
    return {**os.environ, "child": subprocess.check_output(child, text=True, cwd="/"), "cwd": os.getcwd(), "path": sys.path[0], "zone": time.tzname[0], "utf8": sys.stdout.encoding}
`,
    { environment: { MINE: 'ä', TZ: 'Asia/Tokyo', PYTHONHASHSEED: '0' } },
  )
  const { body } = await run.node.invoke({}, { headers: { 'Lambda-Runtime-Trace-Id': 'trace-1' } })
  const value = JSON.parse(body.toString()) as Record<string, string>
  const here = { cwd: run.node.dir, path: run.node.dir, zone: 'JST', utf8: 'utf-8', child: 'index\n' }
  expect(value).toMatchObject({ MINE: 'ä', HOME: '/tmp', _X_AMZN_TRACE_ID: 'trace-1', ...here })
  expect(Object.keys(value).filter((name) => name.startsWith('FORKYARD') || name === 'ONLY_BEFORE')).toEqual([])
  expect((await answerOf(run)).value).not.toHaveProperty('_X_AMZN_TRACE_ID')
  const warning = /^\[WARNING\]\t\S+\t\tno effect in an interpreter that runs already: PYTHONHASHSEED$/m
  await vi.waitFor(() => expect(run.output()).toMatch(warning))
})

test('several requests at a time run in threads, with their own ids, and their lines do not mix', async () => {
  const run = await start(
    `import logging, threading
together = threading.Barrier(3)
def handler(event, context):
    together.wait(10)
    for _ in range(200):
        print(context.aws_request_id, context.aws_request_id, context.aws_request_id)
    logging.warning("of %s", context.aws_request_id)
    return context.aws_request_id
`,
    { concurrency: 3 },
  )
  const ids = ['a', 'b', 'c']
  const answers = await Promise.all(ids.map((id) => answerOf(run, {}, id)))
  expect(answers.map(({ value }) => value)).toEqual(ids)
  for (const id of ids) {
    await vi.waitFor(() => {
      expect(run.output()).toMatch(new RegExp(`^\\[WARNING\\]\\t\\S+\\t${id}\\tof ${id}$`, 'm'))
      expect(
        run
          .output()
          .split('\n')
          .filter((line) => line === `${id} ${id} ${id}`),
      ).toHaveLength(200)
    })
  }
})

test('an exit in one of several threads ends the process', async () => {
  const run = await start('import sys\ndef handler(event, context):\n    sys.exit("bye")\n', { concurrency: 2 })
  void run.node.invoke({})
  expect(await run.exited).toBe(1)
  expect(run.output()).toBe('bye\n')
})

test('a payload of 6 MB goes both ways', async () => {
  const run = await start('def handler(event, context):\n    return event\n')
  const text = 'ä'.repeat(3 * 1024 * 1024 - 10)
  expect((await answerOf(run, { text })).value).toEqual({ text })
})

test('an answer that the node breaks off is not the end of the instance', async () => {
  const run = await start('def handler(event, context):\n    return "x" * event\n')
  const broken = Promise.withResolvers<void>()
  void run.node.invoke(8_000_000, {
    onAnswer: (request) => {
      request.destroy()
      broken.resolve()
    },
  })
  await broken.promise
  expect((await answerOf(run, 3)).value).toBe('xxx')
})

test('the modules that are loaded ahead hold no randomness but what is renewed, and nothing open', () => {
  const program = `import gc, json, os, sys
sys.path.insert(0, sys.argv[1])
before = os.listdir("/proc/self/fd")
from forkyard_runtime.preload import preload
preload()
import random, tempfile, threading, uuid
twisters = [o for o in gc.get_objects() if isinstance(o, random.Random) and not isinstance(o, random.SystemRandom)]
print(json.dumps([len(twisters), twisters[0] is random._inst, tempfile._name_sequence, uuid._node,
    "multiprocessing" in sys.modules, os.listdir("/proc/self/fd") == before, threading.active_count()]))
`
  const printed = execFileSync(python, ['-B', '-c', program, dir], { encoding: 'utf8' })
  expect(JSON.parse(printed)).toEqual([1, true, null, null, false, true, 1])
})
