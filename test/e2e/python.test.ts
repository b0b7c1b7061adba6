/** Runtime python3.11: every start type, what a caller sees of errors, logs, and that no two clones of a checkpoint are alike. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CreateFunctionCommandInput } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName, type Files } from '../support/lambda.ts'
import { configOf, withAgentConfig } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const repoRoot = join(import.meta.dirname, '../..')
const scratch = mkdtempSync(join(tmpdir(), 'forkyard-python-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const create = async (code: string | Files, input: Partial<CreateFunctionCommandInput> = {}): Promise<string> => {
  const name = uniqueName('python')
  const files = typeof code === 'string' ? { 'index.py': code } : code
  await createFunction(client, name, files, { Runtime: 'python3.11', MemorySize: 128, ...input })
  return name
}

describe('a Python function', () => {
  it('starts in every way that the platform knows', async () => {
    const name = await create(`import os, sys
def handler(event, context):
    return [event["n"], os.environ["AWS_EXECUTION_ENV"], sys.version_info[:2], context.memory_limit_in_mb]
`)
    const starts: unknown[] = []
    for (const start of ['boot', 'restore', 'restore-precreated', 'restore-parked', undefined] as const) {
      const { json, startType, text } = await invoke(client, name, { n: starts.length }, start ? { start } : {})
      expect(json, text).toEqual([starts.length, 'AWS_Lambda_python3.11', [3, 11], '128'])
      starts.push(startType)
    }
    expect(starts).toEqual(['boot', 'restore', 'restore', 'restore', 'warm'])
  })

  it('has the standard library with TLS, certificates, SQLite, time zones and C calls', async () => {
    const name = await create(`import ctypes, datetime, sqlite3, ssl, subprocess, sys, zoneinfo
def handler(event, context):
    noon = datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.timezone.utc)
    return {
        "certificates": len(ssl.create_default_context().get_ca_certs()) > 100,
        "sqlite": sqlite3.connect(":memory:").execute("SELECT 40 + 2").fetchone(),
        "zone": noon.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")).hour,
        "c": ctypes.CDLL(None).abs(-5),
        "child": subprocess.run(["python3", "-c", "print(6 * 7)"], capture_output=True, text=True).stdout,
        "compiled": sqlite3.__cached__.endswith(".pyc") and ssl.__loader__.get_code("ssl").co_filename,
    }
`)
    expect((await invoke(client, name)).json).toEqual({
      certificates: true,
      sqlite: [42],
      zone: 14,
      c: 5,
      child: '42\n',
      compiled: '/usr/lib/python3.11/ssl.py',
    })
  })

  it('fails as on Lambda when it raises or exits, and the next request is served', async () => {
    const name = await create(`import sys
def handler(event, context):
    if event.get("exit"):
        print("about to leave", end="")
        sys.exit(3)
    raise LookupError("nothing here")
`)
    const raised = await invoke(client, name)
    expect(raised).toMatchObject({
      functionError: 'Unhandled',
      json: {
        errorType: 'LookupError',
        errorMessage: 'nothing here',
        requestId: raised.requestId,
        stackTrace: ['  File "/var/task/index.py", line 6, in handler\n    raise LookupError("nothing here")\n'],
      },
    })
    const left = await invoke(client, name, { exit: true }, { LogType: 'Tail' })
    expect(left).toMatchObject({ functionError: 'Unhandled', json: { errorType: 'Runtime.ExitError' } })
    expect((left.json as { errorMessage: string }).errorMessage).toContain('exit status 3')
    expect(left.logTail).toContain('about to leave')
    expect((await invoke(client, name)).json).toMatchObject({ errorType: 'LookupError' })
  })

  it.each([
    ['a syntax error', 'def handler(:\n', 'Runtime.UserCodeSyntaxError', "Syntax error in module 'index'"],
    ['no handler', 'other = 1\n', 'Runtime.HandlerNotFound', "Handler 'handler' missing on module 'index'"],
    ['a missing dependency', 'import boto4\n', 'Runtime.ImportModuleError', "No module named 'boto4'"],
  ])('with %s says so', async (_name, code, errorType, message) => {
    const { functionError, json } = await invoke(client, await create(code))
    expect(functionError).toBe('Unhandled')
    expect(json).toMatchObject({ errorType, errorMessage: expect.stringContaining(message) })
  })

  it('is refused without its module', async () => {
    await expect(create({ 'other.py': '' })).rejects.toThrow('index.py, index/__init__.py')
  })

  it('logs with the request’s id', async () => {
    const name = await create(`import logging
logging.getLogger().setLevel("INFO")
def handler(event, context):
    print("printed")
    logging.info("informed")
`)
    const { logTail, requestId } = await invoke(client, name, {}, { LogType: 'Tail' })
    expect(logTail).toMatch(/^printed$/m)
    expect(logTail).toMatch(new RegExp(`^\\[INFO\\]\\t[-\\dT:.]+Z\\t${requestId}\\tinformed$`, 'm'))
  })

  it('serves several requests at a time', async () => {
    const source = `import threading
together = threading.Barrier(3)
def handler(event, context):
    together.wait(20)
    return context.log_stream_name
`
    const name = await create(source, { Tags: { 'forkyard:concurrency': '3' } })
    const answers = await Promise.all([1, 2, 3].map(() => invoke(client, name)))
    expect(new Set(answers.map(({ json }) => json)).size).toBe(1)
  })
})

describe('clones', () => {
  let checkpointPath = ''

  beforeAll(() => {
    const { runtimes, runscPath } = configOf(target, 'node-agent')
    // Young: in an old one OpenSSL reseeds by time, and hides what is to be seen here.
    const args = ['--runtime', 'python3.11', '--out', join(scratch, 'young')]
    const out = execFileSync(process.execPath, [join(repoRoot, 'images/checkpoint.ts'), ...args], {
      input: JSON.stringify({ image: runtimes['python3.11']?.imagePath, runsc: runscPath }),
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    checkpointPath = (JSON.parse(out) as { checkpointPath: string }).checkpointPath
  })

  it('of a checkpoint younger than a minute draw different numbers, and know the time', async () => {
    // What the checkpoint builder compares of two clones, here of twenty, given to functions by the agent.
    const probe = readFileSync(join(repoRoot, 'images/python3.11/probe/clone-probe.py'))
    const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }
    const name = await create(
      {
        'probe.py': probe,
        'index.py': `import time, probe\ndef handler(e, c):\n    return {**probe.handler(e, c), "now": time.time() * 1000}\n`,
      },
      { Tags: once },
    )
    await withPythonCheckpoint(checkpointPath, async () => {
      await vi.waitFor(
        async () => {
          const { startType, serverTiming } = await invoke(client, name, {}, { start: 'restore-parked' })
          expect([startType, serverTiming]).toEqual(['restore', expect.not.stringContaining('restore;dur')])
        },
        { timeout: 10_000, interval: 200 },
      )
      const draws: Record<string, string | number>[] = []
      for (let batch = 0; batch < 5; batch++) {
        const from = Date.now()
        for (const { startType, json, text } of await Promise.all([1, 2, 3, 4].map(() => invoke(client, name)))) {
          expect(startType, text).toBe('restore')
          const { now, timeOriginError, ...draw } = json as Record<string, string | number>
          expect(now).toBeGreaterThanOrEqual(from - 1)
          expect(now).toBeLessThanOrEqual(Date.now() + 1)
          expect(timeOriginError).toBeLessThan(10_000)
          draws.push(draw)
        }
      }
      const kinds = Object.keys(draws[0] ?? {})
      expect(kinds.length).toBeGreaterThan(10)
      for (const kind of kinds) {
        const values = draws.map((draw) => draw[kind])
        expect(new Set(values).size, `${kind}: ${values.join(' ')}`).toBe(20)
      }
    })
  })
})

const withPythonCheckpoint = (path: string, use: () => Promise<void>) =>
  withAgentConfig(
    target,
    (config) => {
      const runtime = config.runtimes['python3.11']
      if (!runtime) throw new Error('the node has no python3.11')
      const runtimes = { ...config.runtimes, 'python3.11': { ...runtime, checkpointPath: path } }
      return { ...config, runtimes, parkedRestores: 1, versionCheckpoints: false }
    },
    use,
  )
