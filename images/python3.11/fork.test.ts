/** The runner as a seed: its forks, what they share and what they must not. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import type { Assignment } from '../../services/contracts/runtime-api.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { startSeedProcess, type SeedProcess } from '../test/runner-process.ts'
import { compileForkLimits, copyRunner } from './install.ts'

let dir: string
let seed: SeedProcess
// Many processes, on a machine that may have other things to do.
vi.setConfig({ testTimeout: 60_000 })
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fy-python-fork-'))
  copyRunner(dir)
  compileForkLimits(dir)
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))
afterEach(() => seed.stop())

const start = async (source: string, assignment: Partial<Assignment> = {}, runner = dir): Promise<SeedProcess> => {
  const flags = runtimeCommands['python3.11'].slice(1, -1)
  const command = ['/usr/bin/python3', ...flags, join(runner, 'bootstrap.py')] as const
  return (seed = await startSeedProcess(command, {}, { 'index.py': source }, assignment))
}

const answers = `def handler(event, context):
    return 1
`

test('each fork answers at its own socket, writes to its own output, and goes on from what the seed had loaded', async () => {
  await start(`import os, subprocess, threading
n = 41
def handler(event, context):
    global n
    n += 1
    print("hello from", context.log_stream_name)
    ran = []
    thread = threading.Thread(target=lambda: ran.append("thread"))
    thread.start()
    thread.join()
    return [n, os.getpid(), os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], ran, subprocess.check_output(["echo", "child"], text=True)]
`)
  expect(seed.hello).toEqual({ ready: true })
  const forks = await Promise.all([seed.fork(), seed.fork(), seed.fork()])
  for (const fork of forks) {
    const { body } = await fork.node.invoke({})
    expect(JSON.parse(body.toString())).toEqual([42, fork.pid, fork.id, ['thread'], 'child\n'])
    expect(fork.output()).toContain(`hello from ${fork.id}`)
  }
  expect(JSON.parse((await forks[0].node.invoke({})).body.toString())).toMatchObject({ 0: 43 })
})

test('a fork serves as many requests at a time as the function says', async () => {
  await start(
    `import threading
together = threading.Barrier(3)
def handler(event, context):
    together.wait(10)
    return context.aws_request_id
`,
    { concurrency: 3 },
  )
  const fork = await seed.fork()
  const ids = ['a', 'b', 'c']
  const bodies = await Promise.all(ids.map(async (id) => (await fork.node.invoke({}, { id })).body.toString()))
  expect(bodies).toEqual(ids.map((id) => JSON.stringify(id)))
})

/** Everything that a function can have used, and so seeded, before it is forked. */
const drawing = `import multiprocessing, os, random, secrets, sqlite3, ssl, tempfile, uuid
base = sqlite3.connect(":memory:")
sqlite = lambda: base.execute("SELECT hex(randomblob(16))").fetchone()[0]
own = random.Random()
fixed = random.Random(7)
sqlite(); own.random(); random.random(); ssl.RAND_bytes(8); uuid.uuid1(); tempfile.mktemp()
def handler(event, context):
    return {
        "random": random.random(), "own": own.random(), "openssl": ssl.RAND_bytes(16).hex(), "secrets": secrets.token_hex(16),
        "uuid4": str(uuid.uuid4()), "node": uuid.getnode(), "uuid1": str(uuid.uuid1())[14:], "sqlite": sqlite(),
        "key": multiprocessing.current_process().authkey.hex(), "name": tempfile.mktemp(), "fixed": fixed.random(),
    }
`

const draw = async (count: number): Promise<Record<string, unknown>[]> => {
  const drawn: Record<string, unknown>[] = []
  for (let index = 0; index < count; index++) {
    const fork = await seed.fork()
    drawn.push(JSON.parse((await fork.node.invoke({})).body.toString()) as Record<string, unknown>)
    await fork.kill()
  }
  return drawn
}

/** Names of what two of these have in common. */
const repeated = (drawn: readonly Record<string, unknown>[]): string[] =>
  Object.keys(drawn[0] ?? {}).filter((kind) => new Set(drawn.map((one) => one[kind])).size < drawn.length)

test('forks draw different numbers, but for those whose seed the function chose', async () => {
  await start(drawing)
  expect(repeated(await draw(10))).toEqual(['fixed'])
})

test('without being made unique they would not', async () => {
  const careless = mkdtempSync(join(tmpdir(), 'fy-python-careless-'))
  try {
    copyRunner(careless)
    compileForkLimits(careless)
    const file = join(careless, 'forkyard_runtime/fork.py')
    const source = readFileSync(file, 'utf8')
    const without = source.replace(/^ {4}(make_unique|renew_loaded)\(.*\n/gm, '')
    expect(source.length - without.length).toBeGreaterThan(50)
    writeFileSync(file, without)
    await start(drawing, {}, careless)
    // Python itself reseeds \`random\`, and OpenSSL its generators.
    expect(repeated(await draw(3))).toEqual(['own', 'node', 'uuid1', 'sqlite', 'key', 'fixed'])
  } finally {
    rmSync(careless, { recursive: true, force: true })
  }
})

test('what a fork does to itself harms neither the seed nor its siblings, and is reported', async () => {
  await start(`import os, signal, subprocess, sys
def handler(event, context):
    if event == "exit":
        sys.exit(7)
    if event == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if event == "hang":
        while True: pass
    if event == "memory":
        kept = []
        while True: kept.append(bytearray(2 ** 20))
    if event == "child":
        subprocess.run([sys.executable, "-c", "kept = []\\nwhile True: kept.append(bytearray(2 ** 20))"])
    if event == "bomb":
        for _ in range(100): subprocess.Popen(["sleep", "1000"], start_new_session=True)
        signal.pause()
    if event == "orphan":
        subprocess.Popen(["sh", "-c", "sleep 1000 &"], start_new_session=True).wait()
        print(subprocess.check_output(["pgrep", "-P", str(os.getpid()), "sleep"], text=True))
        os._exit(0)
    return "fine"
`)
  const sibling = await seed.fork()
  for (const [event, status, cause] of [
    ['exit', 7 << 8, 'within-limits'],
    ['signal', 11, 'within-limits'],
    ['memory', 9, 'memory'],
    ['child', 9, 'memory'],
    ['bomb', 9, 'processes'],
  ] as const) {
    const fork = await seed.fork()
    void fork.node.invoke(event)
    expect(await fork.ended, event).toEqual({ status, cause })
    if (event === 'memory') expect(fork.usedMiB()).toBeGreaterThan(128)
  }
  const hanging = await seed.fork()
  void hanging.node.invoke('hang')
  await hanging.kill()
  expect(await hanging.ended).toEqual({ status: 9, cause: 'within-limits' })
  const leaving = await seed.fork()
  void leaving.node.invoke('orphan')
  await leaving.ended
  // It had been adopted by its fork, and was killed with it.
  const [orphan = ''] = /\d+/.exec(leaving.output()) ?? []
  expect(Number(orphan)).toBeGreaterThan(1)
  await expect.poll(() => isAlive(Number(orphan))).toBe(false)
  expect((await sibling.node.invoke({})).body.toString()).toBe('"fine"')
  expect(sibling.usedMiB()).toBeLessThan(128)
})

test('after a long time with nothing to do, a seed is forked at once, and a fork is watched from its next request on', async () => {
  await start(`import time
def handler(event, context):
    kept = []
    for _ in range(400 if event == "grow" else 0):
        kept.append(b"x" * 2 ** 20)
        time.sleep(0.002)
    # Less than a sleeping watch sleeps.
    time.sleep(1 if kept else 0)
    return "not seen"
`)
  const fork = await seed.fork()
  await fork.node.invoke({})
  await delay(3000)
  expect((await (await seed.fork()).node.invoke({})).body.toString()).toBe('"not seen"')
  await delay(3000)
  void fork.node.invoke('grow')
  expect(await fork.ended).toEqual({ status: 9, cause: 'memory' })
})

const isAlive = (pid: number): boolean => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z')
  } catch {
    return false
  }
}

test.each([
  ['thread', 'import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()'],
  ['thread', 'import threading\nthreading.Timer(1000, print).start()'],
  ['timer', 'import signal\nsignal.alarm(1000)'],
  ['process', 'import subprocess\nsubprocess.Popen(["cat"], stdin=subprocess.PIPE)'],
  ['descriptor', 'import socket\nkept = socket.create_server(("127.0.0.1", 0))'],
  ['descriptor', 'kept = open("/etc/hostname")'],
  ['descriptor', 'import asyncio\nkept = asyncio.new_event_loop()'],
  ['shared memory', 'import mmap\nkept = mmap.mmap(-1, 4096)'],
])('a function that opens a %s at its initialisation is told to be unfit: %s', async (reason, source) => {
  await start(`${source}\n${answers}`)
  expect(seed.hello).toEqual({ unfit: expect.stringContaining(reason) })
})

test('what initialisation has finished with is no obstacle, nor are modules named like those of the library', async () => {
  await start(`import concurrent.futures, sqlite3, subprocess, sys, threading, types
sys.modules["random"] = sys.modules["uuid"] = types.ModuleType("random")
with open("/etc/hostname") as file: file.read()
threading.Timer(0.01, print).start()
subprocess.run(["true"])
with concurrent.futures.ThreadPoolExecutor() as pool: list(pool.map(abs, range(9)))
${answers}`)
  expect(seed.hello).toEqual({ ready: true })
  expect((await (await seed.fork()).node.invoke({})).body.toString()).toBe('1')
})

test('the seed ends with the connection of the node', async () => {
  await start(answers)
  await seed.fork()
  seed.disconnect()
  expect(await seed.exited).toBe(0)
})
