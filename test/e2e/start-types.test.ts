/** How instances come to be: by which start type, how many, for how long; and that no two clones of a checkpoint are alike. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { fileDigest } from '../../services/node-agent/node-scheduler/code-images.ts'
import type { InstanceReport } from '../../services/contracts/node.ts'
import type { UsageRecord } from '../../services/contracts/usage.ts'
import { configOf, metricOf, serviceRequest, storedMessages, withAgentConfig } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const repoRoot = join(import.meta.dirname, '../..')
const scratch = mkdtempSync(join(tmpdir(), 'forkyard-starts-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }

const instancesOf = async (name: string): Promise<InstanceReport[]> => {
  const all = (await (await serviceRequest(target, 'node-agent', '/v1/instances')).json()) as InstanceReport[]
  return all.filter(({ revision, state }) => revision.name === name && state !== 'ended')
}

describe('a start', () => {
  it('is of the type that was asked for, told to caller, log and meter alike', async () => {
    const name = uniqueName('starts')
    await createFunction(client, name, `export const handler = async () => 'ok'`)
    const seen: [string, string][] = []
    for (const start of ['boot', 'restore', 'restore-precreated', 'restore-parked', undefined] as const) {
      const {
        startType = '',
        logTail,
        requestId,
      } = await invoke(client, name, {}, { LogType: 'Tail', ...(start ? { start } : {}) })
      expect(logTail).toContain(`Start Type: ${startType}`)
      seen.push([requestId, startType])
    }
    expect(seen.map(([, startType]) => startType)).toEqual(['boot', 'restore', 'restore', 'restore', 'warm'])
    await vi.waitFor(
      async () => {
        const records = await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${name}.>`)
        expect(records.map(({ invocationId, startType }) => [invocationId, startType])).toEqual(seen)
      },
      { timeout: 10_000, interval: 200 },
    )
  })

  it('that restores a damaged checkpoint falls back to a boot, and is counted', async () => {
    const { checkpointPath = '' } = configOf(target, 'node-agent').runtimes['nodejs24.x'] ?? {}
    const copy = join(scratch, 'truncated')
    cpSync(checkpointPath, copy, { recursive: true })
    // The manifest agrees, so the agent takes it; only the restore can find out.
    truncateSync(join(copy, 'checkpoint.img'), 4096)
    const manifest = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8')) as { files: Record<string, string> }
    manifest.files['checkpoint.img'] = await fileDigest(join(copy, 'checkpoint.img'))
    writeFileSync(join(copy, 'manifest.json'), JSON.stringify(manifest))
    const name = uniqueName('damaged')
    await createFunction(client, name, `export const handler = async () => 'alive'`, { Tags: once })
    await withCheckpoint(copy, async () => {
      const before = await metricOf(target, 'node-agent', 'forkyard_node_restore_failures_total')
      expect(await invoke(client, name)).toMatchObject({ startType: 'boot', json: 'alive' })
      const after = await metricOf(target, 'node-agent', 'forkyard_node_restore_failures_total')
      expect(after).toBeGreaterThan(before)
    })
  })

  it('never uses a checkpoint that does not have its digests', async () => {
    const { checkpointPath = '' } = configOf(target, 'node-agent').runtimes['nodejs24.x'] ?? {}
    const copy = join(scratch, 'flipped')
    cpSync(checkpointPath, copy, { recursive: true })
    const pages = readFileSync(join(copy, 'pages.img'))
    pages[pages.length >> 1] = (pages[pages.length >> 1] ?? 0) ^ 1
    writeFileSync(join(copy, 'pages.img'), pages)
    const name = uniqueName('flipped')
    await createFunction(client, name, `export const handler = async () => 'alive'`, { Tags: once })
    await withCheckpoint(copy, async () => {
      expect(await invoke(client, name, {}, { start: 'restore' })).toMatchObject({ startType: 'boot', json: 'alive' })
    })
  })
})

const withCheckpoint = (path: string, use: () => Promise<void>) =>
  withAgentConfig(
    target,
    (config) => {
      const runtime = config.runtimes['nodejs24.x']
      if (!runtime) throw new Error('the node has no nodejs24.x')
      const runtimes = { ...config.runtimes, 'nodejs24.x': { ...runtime, checkpointPath: path } }
      // This is about the runtime's.
      return { ...config, runtimes, versionCheckpoints: false }
    },
    use,
  )

describe('instances', () => {
  it('are no more than the requests of a burst need', async () => {
    const name = uniqueName('burst')
    const source = `export const handler = async () => { await new Promise((r) => setTimeout(r, 1500)); return process.env.AWS_LAMBDA_LOG_STREAM_NAME }`
    await createFunction(client, name, source, { MemorySize: 128, Tags: { 'forkyard:concurrency': '4' } })
    const answers = await Promise.all(Array.from({ length: 8 }, () => invoke(client, name)))
    expect(answers.every(({ functionError }) => functionError === undefined)).toBe(true)
    expect(new Set(answers.map(({ json }) => json)).size).toBeLessThanOrEqual(2)
  })

  it('serve one request at a time unless the function says otherwise', async () => {
    const name = uniqueName('single')
    const source = `let busy = 0
export const handler = async () => { busy++; await new Promise((r) => setTimeout(r, 100)); return busy-- }`
    await createFunction(client, name, source, { MemorySize: 128 })
    const answers = await Promise.all(Array.from({ length: 6 }, () => invoke(client, name)))
    expect(answers.map(({ json }) => json)).toEqual([1, 1, 1, 1, 1, 1])
  })

  it('end after their keep-alive', async () => {
    const name = uniqueName('short')
    await createFunction(client, name, `export const handler = async () => 1`, {
      Tags: { 'forkyard:keep-alive-ms': '300' },
    })
    await invoke(client, name)
    expect(await instancesOf(name)).toHaveLength(1)
    await vi.waitFor(async () => expect(await instancesOf(name)).toEqual([]), { timeout: 10_000, interval: 100 })
  })

  it('end after one request when they are not to be reused', async () => {
    const name = uniqueName('once')
    await createFunction(client, name, `let n = 0; export const handler = async () => ++n`, {
      Tags: { 'forkyard:reuse': 'false' },
    })
    expect([(await invoke(client, name)).json, (await invoke(client, name)).json]).toEqual([1, 1])
    await vi.waitFor(async () => expect(await instancesOf(name)).toEqual([]), { timeout: 10_000, interval: 100 })
  })
})

describe('clones', () => {
  const drawing = `import crypto from 'node:crypto'
import os from 'node:os'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'
const inWorker = () => new Promise((resolve, reject) => {
  const worker = new Worker("require('node:worker_threads').parentPort.postMessage(Math.random())", { eval: true })
  worker.once('message', resolve).once('error', reject)
})
export const handler = async () => ({
  bytes: crypto.randomBytes(8).toString('hex'),
  uuid: crypto.randomUUID(),
  random: Math.random(),
  web: Buffer.from(globalThis.crypto.getRandomValues(new Uint8Array(8))).toString('hex'),
  webUuid: globalThis.crypto.randomUUID(),
  key: Buffer.from(await globalThis.crypto.subtle.exportKey('raw', await globalThis.crypto.subtle.generateKey({ name: 'AES-GCM', length: 128 }, true, ['encrypt']))).toString('hex'),
  pair: crypto.createECDH('prime256v1').generateKeys('hex'),
  otherContext: vm.runInNewContext('Math.random()'),
  worker: await inWorker(),
  now: Date.now(),
})`
  type Draw = Record<string, string | number>
  const name = uniqueName('clones')
  let checkpointPath = ''

  beforeAll(async () => {
    await createFunction(client, name, drawing, { Tags: once, MemorySize: 256 })
    const { runtimes, runscPath } = configOf(target, 'node-agent')
    const image = runtimes['nodejs24.x']?.imagePath
    // A young checkpoint: in an old one OpenSSL reseeds by itself, and hides what is to be seen here.
    const out = execFileSync(
      process.execPath,
      [join(repoRoot, 'images', 'checkpoint.ts'), '--runtime', 'nodejs24.x', '--out', join(scratch, 'young')],
      { input: JSON.stringify({ image, runsc: runscPath }), encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'] },
    )
    checkpointPath = (JSON.parse(out) as { checkpointPath: string }).checkpointPath
  })

  it('of a checkpoint younger than a minute draw different numbers, and know the time', async () => {
    await withCheckpoint(checkpointPath, async () => {
      const draws: Draw[] = []
      for (let batch = 0; batch < 5; batch++) {
        const from = Date.now()
        const four = await Promise.all(Array.from({ length: 4 }, () => invoke(client, name)))
        for (const { startType, json, text } of four) {
          expect(startType, text).toBe('restore')
          const { now, ...draw } = json as Draw
          expect(now).toBeGreaterThanOrEqual(from - 1)
          expect(now).toBeLessThanOrEqual(Date.now() + 1)
          draws.push(draw)
        }
      }
      for (const kind of Object.keys(draws[0] ?? {})) {
        const values = draws.map((draw) => draw[kind])
        expect(new Set(values).size, `${kind}: ${values.join(' ')}`).toBe(20)
      }
    })
  })
})
