/** Runtime python3.11: every start type, what a caller sees of errors, logs. */
import type { CreateFunctionCommandInput } from '@aws-sdk/client-lambda'
import { describe, expect, it } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName, type Files } from '../support/lambda.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)

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
