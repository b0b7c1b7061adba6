/** Forks of Python functions: from a seed that was restored, alike in code, apart in everything else. */
import type { CreateFunctionCommandInput } from '@aws-sdk/client-lambda'
import { describe, expect, it } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName, type Invoked } from '../support/lambda.ts'
import { metricOf } from './host.ts'
import { installation } from './installation.ts'
import { briefly, once, parkedIs, seedOf } from './seeds.ts'

const target = installation()
const client = lambdaClient(target)

const create = async (code: string, input: Partial<CreateFunctionCommandInput> = {}): Promise<string> => {
  const name = uniqueName('pyfork')
  await createFunction(
    client,
    name,
    { 'index.py': code },
    { Runtime: 'python3.11', MemorySize: 128, Tags: briefly, ...input },
  )
  return name
}

const unfit = (): Promise<number> => metricOf(target, 'node-agent', 'forkyard_node_unfit_revisions_total')

describe('a fork of a Python function', () => {
  it('answers, parked or not, with its own log, and goes on from what the seed had loaded', async () => {
    const name = await create(`import sys
n = 0
def handler(event, context):
    global n
    n += 1
    print("out", context.aws_request_id)
    print("err", n, file=sys.stderr)
    return n
`)
    const seen: Invoked[] = []
    for (const start of ['fork', 'fork', 'fork-parked'] as const)
      seen.push(await invoke(client, name, {}, { LogType: 'Tail', start }))
    await parkedIs(name, 1)
    seen.push(await invoke(client, name, {}, { LogType: 'Tail', start: 'fork-parked' }))
    for (const { json, startType, logTail, serverTiming, requestId } of seen) {
      expect([json, startType], serverTiming).toEqual([1, 'fork'])
      expect(logTail).toContain('Start Type: fork')
      expect(logTail).toContain(`out ${requestId}\n`)
      expect(logTail).toContain('err 1\n')
    }
    expect(seen[3]?.serverTiming).not.toMatch(/fork;dur/)
    expect(await invoke(client, name)).toMatchObject({ json: 2, startType: 'warm' })
  })

  it('whose /tmp has another size than the checkpoint’s comes from a seed that was booted', async () => {
    const source = `import os
def handler(event, context):
    size = os.statvfs("/tmp")
    return size.f_blocks * size.f_frsize >> 20
`
    for (const Size of [512, 600]) {
      const name = await create(source, { EphemeralStorage: { Size }, Tags: once })
      expect(await invoke(client, name, {}, { start: 'fork' })).toMatchObject({ json: Size, startType: 'fork' })
    }
  })

  it('differs from its siblings in everything that is drawn', async () => {
    const name = await create(
      `import logging, multiprocessing, os, random, secrets, sqlite3, ssl, tempfile, threading, time, uuid
base = sqlite3.connect(":memory:")
sqlite = lambda: base.execute("SELECT hex(randomblob(16))").fetchone()[0]
own = random.Random()
# Everything that keeps something for later has been used before the fork.
sqlite(); own.random(); random.random(); ssl.RAND_bytes(8); uuid.uuid1(); tempfile.mktemp()
def in_thread():
    drawn = []
    thread = threading.Thread(target=lambda: drawn.append(ssl.RAND_bytes(16).hex()))
    thread.start()
    thread.join()
    return drawn[0]
def client_hello():
    outgoing = ssl.MemoryBIO()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.com").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()[11:76].hex()
def handler(event, context):
    return {
        "random": random.random(), "own": own.random(), "new": random.Random().random(), "urandom": os.urandom(8).hex(),
        "openssl": ssl.RAND_bytes(16).hex(), "thread": in_thread(), "tls": client_hello(), "secrets": secrets.token_hex(16),
        "uuid4": str(uuid.uuid4()), "node": uuid.getnode(), "uuid1": str(uuid.uuid1()), "sqlite": sqlite(),
        "key": multiprocessing.current_process().authkey.hex(), "name": tempfile.mktemp(),
        "id": context.log_stream_name, "pid": os.getpid(), "now": time.time() * 1000, "origin": logging._startTime * 1000,
    }
`,
      { Tags: once },
    )
    const draws: Record<string, unknown>[] = []
    for (let batch = 0; batch < 5; batch++) {
      const from = Date.now()
      const four = await Promise.all(Array.from({ length: 4 }, () => invoke(client, name, {}, { start: 'fork' })))
      for (const { startType, json, text } of four) {
        expect(startType, text).toBe('fork')
        const { now, origin, ...draw } = json as Record<string, unknown>
        expect(now).toBeGreaterThanOrEqual(from - 1)
        expect(now).toBeLessThanOrEqual(Date.now() + 1)
        expect(origin).toBeGreaterThanOrEqual(from - 1)
        draws.push(draw)
      }
    }
    for (const kind of Object.keys(draws[0] ?? {})) {
      const values = draws.map((draw) => draw[kind])
      expect(new Set(values).size, `${kind}: ${values.join(' ')}`).toBe(20)
    }
  })

  it('serves several requests at a time, if its function does', async () => {
    const name = await create(
      `import threading
together = threading.Barrier(3)
def handler(event, context):
    if event == "first":
        return context.log_stream_name
    together.wait(20)
    return context.log_stream_name
`,
      { Tags: { ...briefly, 'forkyard:concurrency': '3' } },
    )
    const first = await invoke(client, name, 'first', { start: 'fork' })
    expect(first.startType).toBe('fork')
    const together = await Promise.all([1, 2, 3].map(() => invoke(client, name)))
    expect(together.map(({ json }) => json)).toEqual([first.json, first.json, first.json])
  })

  it('that exits, raises or hangs ends alone', async () => {
    const name = await create(
      `import os, signal, sys, time
def handler(event, context):
    if event == "exit":
        sys.exit(3)
    if event == "raise":
        raise LookupError("nothing here")
    if event == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if event == "hang":
        while True: pass
    time.sleep(4 if event == "wait" else 0)
    return context.log_stream_name
`,
      { Timeout: 6 },
    )
    await invoke(client, name, {}, { start: 'fork' })
    const seed = await seedOf(name)
    const sibling = invoke(client, name, 'wait', { start: 'fork' })
    const outcomes = await Promise.all(
      ['exit', 'raise', 'signal', 'hang'].map((event) => invoke(client, name, event, { start: 'fork' })),
    )
    expect(outcomes.map(({ startType }) => startType)).toEqual(['fork', 'fork', 'fork', 'fork'])
    expect(outcomes.map(({ json }) => (json as { errorType?: string }).errorType)).toEqual([
      'Runtime.ExitError',
      'LookupError',
      'Runtime.ExitError',
      'Sandbox.Timedout',
    ])
    expect(await sibling).toMatchObject({ functionError: undefined, startType: 'fork' })
    expect(await invoke(client, name, {}, { start: 'fork' })).toMatchObject({ startType: 'fork' })
    expect((await seedOf(name))?.seedId).toBe(seed?.seedId)
  })

  it('is not made of a function whose initialisation starts a thread', async () => {
    const name = await create(`import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
def handler(event, context):
    return "served"
`)
    const before = await unfit()
    for (let time = 0; time < 2; time++)
      expect(await invoke(client, name, {}, { start: 'fork' })).toMatchObject({ json: 'served', startType: 'restore' })
    expect(await unfit()).toBe(before + 1)
  })
})
