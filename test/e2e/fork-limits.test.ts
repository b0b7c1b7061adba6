/** What a fork may use is its own: who takes more ends alone, and siblings see nothing of each other. */
import { describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { installation } from './installation.ts'
import { briefly, seedOf } from './seeds.ts'

const target = installation()
const client = lambdaClient(target)

/** The same function in both languages. The event says what to do, and how long to wait before the answer. */
const functions = {
  'nodejs24.x': {
    'index.mjs': `import { spawn } from 'node:child_process'
import { readFileSync, readdirSync, writeFileSync, appendFileSync } from 'node:fs'
writeFileSync('/tmp/of-all', 'from the seed')
const kept = []
const fill = (path) => { for (;;) appendFileSync(path, Buffer.alloc(2 ** 20, 1)) }
export const handler = async ({ what, waitMs = 0 }) => {
  if (what === 'memory') for (;;) kept.push(Buffer.alloc(2 ** 20, 1))
  if (what === 'child') spawn(process.execPath, ['-e', 'const kept = []; setInterval(() => kept.push(Buffer.alloc(2 ** 22, 1)), 1)'])
  if (what === 'files') fill('/tmp/big')
  // Until it is killed: what cannot be started is tried again.
  if (what === 'many') for (;;) { spawn('sleep', ['1000']).on('error', () => {}); await new Promise((resolve) => setTimeout(resolve, 1)) }
  if (what === 'bomb') for (;;) spawn('sh', ['-c', 'bomb() { bomb | bomb & }; bomb'], { detached: true, stdio: 'ignore' }) && await new Promise((resolve) => setTimeout(resolve, 1))
  if (what === 'child') await new Promise(() => {})
  if (what === 'some') kept.push(Buffer.alloc(50 * 2 ** 20, 1))
  const before = [readdirSync('/tmp').sort(), readFileSync('/tmp/of-all', 'utf8')]
  writeFileSync('/tmp/mine', 'mine')
  appendFileSync('/tmp/of-all', ', and mine')
  await new Promise((resolve) => setTimeout(resolve, waitMs))
  return before
}
`,
  },
  'python3.11': {
    'index.py': `import os, subprocess, sys, time
with open("/tmp/of-all", "w") as file: file.write("from the seed")
kept = []
def handler(event, context):
    what = event.get("what")
    while what == "memory": kept.append(bytearray(2 ** 20))
    if what == "child": subprocess.run([sys.executable, "-c", "kept = []\\nwhile True: kept.append(bytearray(2 ** 20))"])
    if what == "files":
        with open("/tmp/big", "wb") as file:
            while True: file.write(b"x" * 2 ** 20)
    while what == "many":
        try: subprocess.Popen(["sleep", "1000"])
        except OSError: pass
    while what == "bomb":
        subprocess.Popen(["sh", "-c", "bomb() { bomb | bomb & }; bomb"], start_new_session=True)
    if what == "some": kept.append(b"x" * (50 * 2 ** 20))
    with open("/tmp/of-all") as file: before = [sorted(os.listdir("/tmp")), file.read()]
    with open("/tmp/mine", "w") as file: file.write("mine")
    with open("/tmp/of-all", "a") as file: file.write(", and mine")
    time.sleep(event.get("waitMs", 0) / 1000)
    return before
`,
  },
} as const

const fork = (name: string, event: object) => invoke(client, name, event, { start: 'fork', LogType: 'Tail' })
const used = ({ logTail = '' }) => Number(/Max Memory Used: (\d+) MB/.exec(logTail)?.[1])

/** Waits for so long that its siblings have come and gone. */
const forkSibling = async (name: string) => {
  const sibling = fork(name, { waitMs: 8000 })
  const seedId = await vi.waitFor(
    async () => {
      const seed = await seedOf(name)
      if (!seed?.serving) throw new Error('not yet')
      return seed.seedId
    },
    { timeout: 10_000, interval: 20 },
  )
  return { sibling, seedId }
}

const fresh = [['of-all'], 'from the seed']

describe.each(['nodejs24.x', 'python3.11'] as const)('a fork of %s', (Runtime) => {
  const create = async (): Promise<string> => {
    const name = uniqueName('limits')
    await createFunction(client, name, functions[Runtime], { Runtime, MemorySize: 128, Timeout: 20, Tags: briefly })
    return name
  }
  it.each(['memory', 'child', 'files'])(
    'that takes more than the function’s memory (%s) ends alone, with the evidence',
    async (what) => {
      const name = await create()
      expect((await fork(name, {})).startType).toBe('fork')
      const { sibling, seedId } = await forkSibling(name)
      const hungry = await fork(name, { what })
      expect(hungry).toMatchObject({ startType: 'fork', functionError: 'Unhandled' })
      expect(hungry.json, hungry.logTail).toMatchObject({ errorType: 'Runtime.OutOfMemory' })
      const { errorMessage } = hungry.json as { errorMessage: string }
      const [, peak] = /memory limit 128 MiB, peak (\d+) MiB, of this fork alone/.exec(errorMessage) ?? []
      expect(Number(peak), errorMessage).toBeGreaterThan(128)
      expect(await sibling).toMatchObject({ json: fresh, startType: 'fork', functionError: undefined })
      expect((await seedOf(name))?.seedId).toBe(seedId)
    },
  )

  it.each([
    // As many small processes are too much memory, too.
    ['many', /more than 128 processes|of this fork alone/],
    // The kernel refuses what the watch has not seen yet: the bomb may fail by itself.
    ['bomb', /more than 128 processes|of this fork alone|EAGAIN|Resource temporarily unavailable/],
  ])('that starts processes without end (%s) ends alone', async (what, message) => {
    const name = await create()
    await fork(name, {})
    const { sibling, seedId } = await forkSibling(name)
    const bomb = await fork(name, { what })
    expect(bomb).toMatchObject({ startType: 'fork', functionError: 'Unhandled' })
    expect((bomb.json as { errorMessage: string }).errorMessage).toMatch(message)
    expect(await sibling).toMatchObject({ json: fresh, startType: 'fork', functionError: undefined })
    expect((await seedOf(name))?.seedId).toBe(seedId)
  })

  it('sees of /tmp what the seed has put there, and nothing of its siblings', async () => {
    const name = await create()
    const three = await Promise.all([1, 2, 3].map(() => fork(name, { waitMs: 1000 })))
    expect(three.map(({ json }) => json)).toEqual([fresh, fresh, fresh])
    expect((await invoke(client, name)).json).toEqual([['mine', 'of-all'], 'from the seed, and mine'])
  })

  it('is told to have used what it used itself', async () => {
    const name = await create()
    await fork(name, {})
    const [much, little] = await Promise.all([fork(name, { what: 'some', waitMs: 1000 }), fork(name, { waitMs: 1000 })])
    expect(used(little), little.logTail).toBeGreaterThan(0)
    expect(used(much) - used(little)).toBeGreaterThan(45)
    expect(used(much) - used(little)).toBeLessThan(80)
    expect(used(much)).toBeLessThanOrEqual(128)
  })
})
