/**
 * A hundred clones of a checkpoint younger than a minute, and a hundred forks of one seed: no two alike in anything that is drawn, all with
 * the right time. And that these tests would see it: without the runner's reseeding, clones repeat each other.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { CheckpointFiles } from '../../images/checkpoint.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { RuntimeFiles } from '../../services/node-agent/config.ts'
import { allDraws, drawInWorker } from '../support/drawing.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type InvokeOptions } from '../support/lambda.ts'
import { configOf, withRuntime } from './host.ts'
import { installation } from './installation.ts'
import { makeRuntimeWithoutReseeding } from './without-reseeding.ts'

const target = installation()
const client = lambdaClient(target)
const repoRoot = join(import.meta.dirname, '../..')
const scratch = mkdtempSync(join(tmpdir(), 'forkyard-clones-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const clones = 100
/** Enough to see what repeats. */
const fewClones = 4
/** These make a worker too, which takes longer than all the rest. */
const someClones = 20
const atATime = 4

const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }

const nodeSource = `import crypto from 'node:crypto'
import os from 'node:os'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'
// Everything that keeps something for later has been used before a fork.
crypto.randomUUID(); crypto.randomBytes(8); crypto.randomInt(5); Math.random(); vm.runInNewContext('Math.random()')
const before = vm.createContext({})
${drawInWorker}
export const handler = async (event) => ({
${allDraws}
  newContext: vm.runInNewContext('Math.random()'),
  oldContext: vm.runInContext('Math.random()', before),
  ...(event.worker ? { worker: await inWorker() } : {}),
  id: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
  hostname: os.hostname(),
  pid: process.pid,
  interfaces: Object.keys(os.networkInterfaces()).join(),
  origin: performance.timeOrigin + performance.now() - Date.now(),
  now: Date.now(),
})`

const pythonSource = `import os, socket, time, probe
def handler(event, context):
    return {
        **probe.handler(event, context),
        "id": context.log_stream_name,
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "interfaces": ",".join(name for _, name in socket.if_nameindex()),
        "now": time.time() * 1000,
    }
`

const createDrawing = async (runtime: RuntimeName): Promise<string> => {
  const name = uniqueName('drawing')
  const files =
    runtime === 'python3.11'
      ? { 'index.py': pythonSource, 'probe.py': readFileSync(join(repoRoot, 'images/python3.11/probe/clone-probe.py')) }
      : { 'index.mjs': nodeSource }
  await createFunction(client, name, files, { Runtime: runtime, Tags: once, MemorySize: 256 })
  return name
}

type Draw = Record<string, string | number>

/** What is no draw is checked here: clocks, and that there is no network whose addresses could be alike. */
const drawMany = async (
  name: string,
  count: number,
  startType: string,
  options: InvokeOptions = {},
): Promise<Draw[]> => {
  const draws: Draw[] = []
  while (draws.length < count) {
    const from = Date.now()
    const batch = await Promise.all(
      Array.from({ length: atATime }, () => invoke(client, name, { worker: draws.length < someClones }, options)),
    )
    for (const { json, text, startType: found } of batch) {
      expect(found, text).toBe(startType)
      const { now, origin = 0, timeOriginError, interfaces, ...draw } = json as Draw
      expect(now).toBeGreaterThanOrEqual(from - 1)
      expect(now).toBeLessThanOrEqual(Date.now() + 1)
      expect(Math.abs(Number(origin))).toBeLessThan(1000)
      expect(Number(timeOriginError ?? 0)).toBeLessThan(10_000)
      expect(interfaces).toMatch(/^(lo)?$/)
      draws.push(draw)
    }
  }
  return draws
}

/** The kinds of which some value came twice. */
const collisions = (draws: readonly Draw[]): string[] =>
  Object.keys(draws[0] ?? {}).filter((kind) => {
    const values = draws.flatMap((draw) => draw[kind] ?? [])
    return new Set(values).size < values.length
  })

const makeYoungCheckpoint = (
  runtime: RuntimeName,
): Pick<RuntimeFiles, 'checkpointPath' | 'checkpointKey' | 'checkpointDigest'> => {
  const { runtimes, runscPath } = configOf(target, 'node-agent')
  const args = ['--runtime', runtime, '--out', join(scratch, 'young')]
  const out = execFileSync(process.execPath, [join(repoRoot, 'images/checkpoint.ts'), ...args], {
    input: JSON.stringify({ image: runtimes[runtime]?.imagePath, runsc: runscPath }),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const { checkpointPath, key, digest } = JSON.parse(out) as CheckpointFiles
  return { checkpointPath, checkpointKey: key, checkpointDigest: digest }
}

describe.each([
  ['nodejs24.x', ['bytes', 'uuid', 'int', 'random', 'web', 'webUuid', 'key', 'pair', 'newContext', 'oldContext']],
  ['python3.11', ['random', 'getrandbits', 'opensslBytes', 'opensslInThread', 'tlsRandom', 'tlsKeyShare']],
] as const)('clones of a checkpoint of %s', (runtime, reseeded) => {
  it(`that was made just now differ, all ${clones} of them`, async () => {
    const name = await createDrawing(runtime)
    const young = makeYoungCheckpoint(runtime)
    const use = async (): Promise<void> => {
      const draws = await drawMany(name, clones, 'restore')
      // After seven minutes OpenSSL's generators reseed by themselves, and whatever is wrong is not seen any more.
      expect(Date.now() - statSync(join(young.checkpointPath ?? '', 'pages.img')).mtimeMs).toBeLessThan(7 * 60_000)
      // The process is the saved one, so its number is too.
      expect(collisions(draws)).toEqual(['pid'])
    }
    // With a parked one, so that those are among them too.
    await withRuntime(target, runtime, young, use, { parkedRestores: 1 })
  })

  it('would not, without the reseeding', async () => {
    const name = await createDrawing(runtime)
    const files = await makeRuntimeWithoutReseeding(target, runtime, join(scratch, `unsafe-${runtime}`))
    await withRuntime(target, runtime, files, async () => {
      const repeated = collisions(await drawMany(name, fewClones, 'restore'))
      expect(repeated).toEqual(expect.arrayContaining([...reseeded]))
      if (runtime !== 'nodejs24.x') return
      const repeatedByForks = collisions(await drawMany(name, fewClones, 'fork', { start: 'fork' }))
      // OpenSSL notices a fork by itself, and Node.js's caches are empty in a seed.
      expect(repeatedByForks).toEqual(expect.arrayContaining(['random', 'oldContext']))
    })
  })
})

describe('forks of one seed', () => {
  it(`differ, all ${clones} of them`, async () => {
    const draws = await drawMany(await createDrawing('nodejs24.x'), clones, 'fork', { start: 'fork' })
    // They share a sandbox, so they have its name.
    expect(collisions(draws)).toEqual(['hostname'])
  })
})
