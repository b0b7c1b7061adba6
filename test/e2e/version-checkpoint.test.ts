/** A version is saved once its function is initialised: what its clones share, what they must not, and when there is none. */
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { UpdateFunctionCodeCommand } from '@aws-sdk/client-lambda'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { LogRecord } from '../../services/contracts/usage.ts'
import { CheckpointIndex, indexKeys } from '../../services/node-agent/checkpoint/checkpoint-index.ts'
import type { VersionReport } from '../../services/node-agent/checkpoint/version-checkpoints.ts'
import { allDraws, drawInWorker } from '../support/drawing.ts'
import {
  createFunction,
  invoke as invokeAny,
  lambdaClient,
  uniqueName,
  zipOf,
  type Invoked,
} from '../support/lambda.ts'
import { forgeManifest } from './forged-manifest.ts'
import { configOf, leftoversOf, metricOf, restartService, storedMessages, versionCheckpointsOf } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)

/** Each invocation is the first of its instance. */
const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }
const waiting = { timeout: 60_000, interval: 100 }

const checkpointsDir = (): string => join(configOf(target, 'node-agent').stateDir, 'checkpoints')
const directoryOf = (name: string): string | undefined =>
  readdirSync(checkpointsDir())
    .map((key) => join(checkpointsDir(), key))
    .find((dir) => {
      const manifest = join(dir, 'manifest.json')
      return existsSync(manifest) && readFileSync(manifest, 'utf8').includes(`"${name}"`)
    })

/** Not by a runtime that waits at its socket, which is taken before a checkpoint of a function that initialises quickly. */
const invoke: typeof invokeAny = (client, name, event, input) =>
  invokeAny(client, name, event, { start: 'restore', ...input })

const reportOf = async (name: string): Promise<VersionReport | undefined> =>
  (await versionCheckpointsOf(target)).find(({ revision }) => revision.includes(`/${name}/`))

const settled = (name: string): Promise<VersionReport> =>
  vi.waitFor(async () => {
    const report = await reportOf(name)
    if (report?.state !== 'ready' && report?.state !== 'refused') throw new Error(`${name}: ${report?.state}`)
    return report
  }, waiting)

/** Started once in another way, and ready to be started from its own checkpoint. */
const saved = async (name: string): Promise<void> => {
  const { startType, serverTiming, text } = await invoke(client, name)
  expect(startType, text).toBe('restore')
  expect(serverTiming).not.toContain('restore-version')
  expect(await settled(name)).toMatchObject({ state: 'ready' })
}

const fromVersion = ({ startType, serverTiming }: Invoked): boolean =>
  startType === 'restore' && serverTiming.includes('restore-version')

const refusalOf = async (source: string, environment: Record<string, string> = {}): Promise<string> => {
  const name = uniqueName('refused')
  await createFunction(client, name, `${source}\nexport const handler = async () => 'served'`, {
    Tags: { ...once, 'forkyard:secrets': 'named' },
    Environment: { Variables: environment },
  })
  const first = await invoke(client, name)
  const { state, reason = '' } = await settled(name)
  expect(state, name).toBe('refused')
  // Nobody suffers from it.
  const second = await invoke(client, name)
  expect([first.json, second.json, second.startType]).toEqual(['served', 'served', 'restore'])
  expect(fromVersion(second)).toBe(false)
  expect(directoryOf(name)).toBe(undefined)
  return reason
}

const nothingLeft = () => vi.waitFor(async () => expect(await leftoversOf(target)).toEqual([]), waiting)

describe('a start from the checkpoint of a version', () => {
  const source = `import crypto from 'node:crypto'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'
import { env } from 'node:process'
// Everything that keeps something for later has been used before it is saved.
crypto.randomUUID(); crypto.randomBytes(8); crypto.randomInt(5); Math.random(); vm.runInNewContext('Math.random()')
const context = vm.createContext({})
const born = Date.now()
const kept = crypto.randomBytes(8).toString('hex')
const names = Object.keys(process.env).includes('API_TOKEN')
const order = []
let invocations = 0
for (const hook of ['first', 'second']) {
  forkyard.beforeCheckpoint((name) => order.push('before ' + name), hook)
  forkyard.afterRestore(async (name) => order.push('after ' + name + ' ' + process.env.API_TOKEN), hook)
}
${drawInWorker}
export const handler = async () => ({
  shared: { born, kept, names, order, invocations: ++invocations, secret: [env.API_TOKEN, process.env.API_TOKEN, process.env.PLAIN],
    type: process.env.AWS_LAMBDA_INITIALIZATION_TYPE, cwd: process.cwd() },
${allDraws}
  newContext: vm.runInNewContext('Math.random()'),
  oldContext: vm.runInContext('Math.random()', context),
  worker: await inWorker(),
  id: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
  origin: performance.timeOrigin + performance.now() - Date.now(),
  now: Date.now(),
})`
  const name = uniqueName('saved')
  beforeAll(() =>
    createFunction(client, name, source, {
      Tags: once,
      MemorySize: 256,
      Environment: { Variables: { API_TOKEN: 'q8Zr_2kfLw01xPsdOe', PLAIN: 'plain' } },
    }),
  )

  it('does not initialise the function again, runs its hooks, and differs from its siblings in all that is drawn', async () => {
    await saved(name)
    const draws: Record<string, unknown>[] = []
    const shared = new Set<string>()
    for (let batch = 0; batch < 6; batch++) {
      const from = Date.now()
      const four = await Promise.all(Array.from({ length: 4 }, () => invoke(client, name)))
      for (const invoked of four) {
        expect(fromVersion(invoked), `${invoked.startType} ${invoked.serverTiming} ${invoked.text}`).toBe(true)
        const { now, origin, shared: common, ...draw } = invoked.json as Record<string, unknown>
        expect(now).toBeGreaterThanOrEqual(from - 1)
        expect(now).toBeLessThanOrEqual(Date.now() + 1)
        expect(Math.abs(Number(origin))).toBeLessThan(100)
        shared.add(JSON.stringify(common))
        draws.push(draw)
      }
    }
    // What the function kept from its initialisation is the same in all, which is why its log has a warning.
    expect(shared.size, [...shared].join('\n')).toBe(1)
    expect(JSON.parse([...shared][0] ?? '')).toMatchObject({
      invocations: 1,
      names: true,
      secret: ['q8Zr_2kfLw01xPsdOe', 'q8Zr_2kfLw01xPsdOe', 'plain'],
      type: 'snap-start',
      cwd: '/var/task',
      order: ['before second', 'before first', 'after first q8Zr_2kfLw01xPsdOe', 'after second q8Zr_2kfLw01xPsdOe'],
    })
    for (const kind of Object.keys(draws[0] ?? {})) {
      const values = draws.map((draw) => draw[kind])
      expect(new Set(values).size, `${kind}: ${values.join(' ')}`).toBe(24)
    }
    await vi.waitFor(async () => {
      const lines = (await storedMessages<LogRecord[]>(target, 'LOGS', `logs.*.${name}`)).flat()
      expect(lines.map(({ line }) => line)).toContainEqual(
        expect.stringMatching(/^CHECKPOINT random numbers were drawn/),
      )
    }, waiting)
    await nothingLeft()
  })

  it('takes sandboxes that were created ahead', async () => {
    await vi.waitFor(async () => {
      const invoked = await invoke(client, name, {}, { start: 'restore-precreated' })
      expect(fromVersion(invoked), invoked.serverTiming).toBe(true)
    }, waiting)
  })

  it('ends with the function’s own error when a hook after the restore throws', async () => {
    const broken = uniqueName('hook')
    const code = `forkyard.afterRestore(() => { throw new TypeError('no database') })\nexport const handler = async () => 1`
    await createFunction(client, broken, code, { Tags: once })
    await saved(broken)
    expect(await invoke(client, broken)).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'Runtime.AfterRestoreError', errorMessage: 'TypeError: no database' },
    })
  })

  it('ends with an error of its own when the hooks take longer than an initialisation may', async () => {
    const slow = uniqueName('slow')
    const code = `forkyard.afterRestore(() => new Promise((resolve) => setTimeout(resolve, 60_000)))\nexport const handler = async () => 1`
    await createFunction(client, slow, code, { Tags: once })
    await saved(slow)
    expect(await invoke(client, slow)).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'SnapStartTimeoutException' },
    })
  })

  it('has a /tmp of the function’s own size, with what its initialisation wrote there', async () => {
    const large = uniqueName('tmp')
    const code = `import { readFileSync, statfsSync, writeFileSync } from 'node:fs'
writeFileSync('/tmp/made', 'once')
export const handler = async () => [readFileSync('/tmp/made', 'utf8'), Math.round(statfsSync('/tmp').blocks * statfsSync('/tmp').bsize / 1048576)]`
    await createFunction(client, large, code, { Tags: once, EphemeralStorage: { Size: 1024 } })
    expect((await invoke(client, large)).startType).toBe('boot')
    expect(await settled(large)).toMatchObject({ state: 'ready' })
    const invoked = await invoke(client, large)
    expect(fromVersion(invoked)).toBe(true)
    expect(invoked.json).toEqual(['once', 1024])
  })

  it('is what python3.11 has too, with the hooks of snapshot_restore_py', async () => {
    const python = uniqueName('python')
    const code = `import os, random, secrets, ssl, time, uuid
from os import environ
from snapshot_restore_py import register_after_restore, register_before_snapshot
born = time.time()
order = []
random.random(); ssl.RAND_bytes(8); uuid.uuid4(); uuid.uuid1()
names = "API_TOKEN" in environ and "API_TOKEN" in list(os.environ)

@register_before_snapshot
def before_first():
    order.append("before first")

register_before_snapshot(lambda name, more: order.append(f"before {name} {more}"), "second", more=2)

@register_after_restore
def after_first():
    order.append("after first " + os.environ["API_TOKEN"])

register_after_restore(order.append, "after second")

def handler(event, context):
    return {"shared": [born, order, names, environ["API_TOKEN"], os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]],
            "draw": [random.random(), secrets.token_hex(8), ssl.RAND_bytes(8).hex(), str(uuid.uuid4()), str(uuid.uuid1()), environ["AWS_LAMBDA_LOG_STREAM_NAME"]],
            "now": time.time()}`
    await createFunction(
      client,
      python,
      { 'index.py': code },
      { Runtime: 'python3.11', Tags: once, Environment: { Variables: { API_TOKEN: 'q8Zr_2kfLw01xPsdOe' } } },
    )
    await saved(python)
    const draws: unknown[][] = []
    const shared = new Set<string>()
    for (let batch = 0; batch < 5; batch++)
      for (const invoked of await Promise.all(Array.from({ length: 4 }, () => invoke(client, python)))) {
        expect(fromVersion(invoked), invoked.text).toBe(true)
        const json = invoked.json as { shared: unknown; draw: unknown[]; now: number }
        expect(Math.abs(json.now * 1000 - Date.now())).toBeLessThan(5000)
        shared.add(JSON.stringify(json.shared))
        draws.push(json.draw)
      }
    expect(shared.size).toBe(1)
    expect(JSON.parse([...shared][0] ?? '')).toEqual([
      expect.any(Number),
      ['before second 2', 'before first', 'after first q8Zr_2kfLw01xPsdOe', 'after second'],
      true,
      'q8Zr_2kfLw01xPsdOe',
      'snap-start',
    ])
    for (const kind of draws[0]?.keys() ?? []) expect(new Set(draws.map((draw) => draw[kind])).size).toBe(20)
  })
})

describe('no checkpoint is kept of a version', () => {
  const secret = 'q8Zr_2kfLw01xPsdOe'

  it.each<[string, string, string, Record<string, string>]>([
    [
      'reads a secret',
      'reads a secret while it is initialised: API_TOKEN',
      'globalThis.kept = process.env.API_TOKEN',
      { API_TOKEN: secret },
    ],
    ['copies its environment', 'API_TOKEN', 'globalThis.kept = { ...process.env }', { API_TOKEN: secret }],
    [
      'reads what its tag names',
      'named',
      `import { env } from 'node:process'; globalThis.kept = env.named`,
      { named: secret },
    ],
    [
      'has a secret in its memory by another way',
      'its memory holds a secret: API_TOKEN',
      `globalThis.kept = Buffer.from(process.env.CODED, 'base64').toString('latin1')`,
      { API_TOKEN: secret, CODED: Buffer.from(secret).toString('base64') },
    ],
    ['opens a server', 'server', `import net from 'node:net'; net.createServer().listen(0, '127.0.0.1')`, {}],
    ['starts a process', 'process', `import { spawn } from 'node:child_process'; spawn('sleep', ['1000'])`, {}],
    [
      'has a hook that throws',
      'Runtime.BeforeSnapshotError: Error: not now',
      `forkyard.beforeCheckpoint(() => { throw new Error('not now') })`,
      {},
    ],
    // The negative control of the gate: this random generator is not seeded anew.
    [
      'makes its clones draw the same',
      'not unique: randomUUID',
      `import crypto from 'node:crypto'; import { syncBuiltinESMExports } from 'node:module'
const id = crypto.randomUUID(); crypto.randomUUID = () => id; syncBuiltinESMExports()`,
      {},
    ],
  ])('whose function %s', async (_, reason, source, environment) => {
    expect(await refusalOf(source, environment)).toContain(reason)
  })

  it('in Python either, and says which secret was read', async () => {
    const name = uniqueName('refused')
    await createFunction(
      client,
      name,
      { 'index.py': `import os\nkept = dict(os.environ)\ndef handler(event, context):\n    return kept["API_TOKEN"]` },
      { Runtime: 'python3.11', Tags: once, Environment: { Variables: { API_TOKEN: secret } } },
    )
    expect((await invoke(client, name)).json).toBe(secret)
    expect(await settled(name)).toMatchObject({ state: 'refused', reason: expect.stringContaining('API_TOKEN') })
    expect((await invoke(client, name)).json).toBe(secret)
  })
})

describe('the checkpoint of a version', () => {
  const born = `const born = Date.now()\nexport const handler = async () => born`

  it('is replaced by that of a deploy, and its files go', async () => {
    const name = uniqueName('deployed')
    await createFunction(client, name, born, { Tags: once })
    await saved(name)
    const old = directoryOf(name)
    const before = (await invoke(client, name)).json
    expect((await invoke(client, name)).json).toBe(before)
    const ZipFile = await zipOf({ 'index.mjs': `${born} // new` })
    await client.send(new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile }))
    const first = await invoke(client, name)
    expect(fromVersion(first)).toBe(false)
    expect(first.json).not.toBe(before)
    await vi.waitFor(() => expect(existsSync(old ?? '')).toBe(false), waiting)
    await vi.waitFor(async () => expect(fromVersion(await invoke(client, name))).toBe(true), waiting)
  })

  it('outlives its agent, is checked by the next one, and what was not finished is removed', async () => {
    const name = uniqueName('kept')
    await createFunction(client, name, born, { Tags: once })
    await saved(name)
    const before = (await invoke(client, name)).json
    const unfinished = join(checkpointsDir(), '.save-1-0')
    mkdirSync(unfinished)
    writeFileSync(join(unfinished, 'pages.img'), 'half')
    await restartService(target, 'node-agent', 'SIGKILL')
    expect(existsSync(unfinished)).toBe(false)
    // Not before it was checked, for which nobody waits.
    expect((await invoke(client, name)).json).not.toBe(before)
    await settled(name)
    expect((await invoke(client, name)).json).toBe(before)
  })

  it('that does not have its digests is removed, and made anew', async () => {
    const name = uniqueName('flipped')
    await createFunction(client, name, born, { Tags: once })
    await saved(name)
    const before = (await invoke(client, name)).json
    const file = join(directoryOf(name) ?? '', 'pages.img')
    const pages = readFileSync(file)
    pages[pages.length >> 1] = (pages[pages.length >> 1] ?? 0) ^ 1
    writeFileSync(file, pages)
    await restartService(target, 'node-agent', 'SIGTERM')
    expect(await metricOf(target, 'node-agent', 'forkyard_node_version_checkpoint_events_total')).toBe(0)
    await saved(name)
    expect(await metricOf(target, 'node-agent', 'forkyard_node_version_checkpoint_events_total')).toBe(2)
    expect((await invoke(client, name)).json).not.toBe(before)
  })

  it('that cannot be restored is removed; the start falls back, and is counted', async () => {
    const name = uniqueName('truncated')
    await createFunction(client, name, born, { Tags: once })
    await saved(name)
    const directory = directoryOf(name) ?? ''
    // Manifest and index agree, so the agent takes it; only the restore can find out.
    truncateSync(join(directory, 'checkpoint.img'), 4096)
    const { stateDir, environmentKeys, nodeId } = configOf(target, 'node-agent')
    const keys = indexKeys(environmentKeys, `of versions on ${nodeId}`)
    const index = new CheckpointIndex(join(stateDir, 'checkpoints.json'), keys, () => undefined)
    index.set(basename(directory), await forgeManifest(directory))
    await restartService(target, 'node-agent', 'SIGKILL')
    await saved(name)
    const before = await metricOf(target, 'node-agent', 'forkyard_node_restore_failures_total')
    const fallen = await invoke(client, name)
    expect(fallen).toMatchObject({ startType: 'restore', functionError: undefined })
    // Both were tried, one after the other.
    expect(fallen.serverTiming).toMatch(/restore-version;dur.*restore;dur/)
    expect(await metricOf(target, 'node-agent', 'forkyard_node_restore_failures_total')).toBe(before + 1)
    await vi.waitFor(async () => expect(fromVersion(await invoke(client, name))).toBe(true), waiting)
    await nothingLeft()
  })
})
