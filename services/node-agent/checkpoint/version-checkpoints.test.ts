import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { VersionConfig } from '../../contracts/function.ts'
import { createSchedulerMetrics } from '../metrics.ts'
import { CheckpointIndex, indexKeys } from './checkpoint-index.ts'
import { RefusedError } from './make-version.ts'
import { VersionCheckpoints, type VersionCheckpointsDeps } from './version-checkpoints.ts'
import { VersionStore } from './version-store.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fy-versions-'))
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
  for (const path of [dir, `${dir}.json`]) rmSync(path, { recursive: true, force: true })
})

const openStore = (): VersionStore =>
  new VersionStore(
    dir,
    new CheckpointIndex(`${dir}.json`, indexKeys([{ id: 'one', key: 'a'.repeat(64) }], ''), vi.fn()),
  )

const config = (name: string, revisionId = 'r1'): VersionConfig =>
  ({ tenant: 't', name, version: '$LATEST', revisionId, runtime: 'nodejs24.x' }) as VersionConfig

const report = { warnings: ['careful'], initMs: 7 }
const writePages = async (_: VersionConfig, directory: string) => {
  for (const name of ['checkpoint', 'pages_meta', 'pages']) writeFileSync(join(directory, `${name}.img`), name)
  return report
}

const checkpointsWith = (deps: Partial<VersionCheckpointsDeps> = {}) => {
  const told: string[] = []
  const made = vi.fn(writePages)
  const checkpoints = new VersionCheckpoints({
    config: {
      versionCheckpoints: true,
      versionCheckpointsMiB: 100,
      versionCheckpointUnusedMs: 1e9,
      runtimes: { 'nodejs24.x': { imagePath: '', imageDigest: '', command: ['x'], checkpointPath: '/c' } },
    },
    store: openStore(),
    keyOf: ({ name, revisionId }) => `${name}-${revisionId}`,
    make: made,
    isCurrent: async () => true,
    tell: (_, line) => void told.push(line),
    logger: pino({ level: 'silent' }),
    metrics: createSchedulerMetrics(new Registry()),
    ...deps,
  })
  /** Wants it, and waits until it was tried. */
  const tryOnce = async (wanted: VersionConfig): Promise<void> => {
    checkpoints.want(wanted)
    checkpoints.fill()
    await vi.waitFor(() => {
      if (checkpoints.reports().some(({ state }) => state === 'making')) throw new Error('making')
    })
  }
  return { checkpoints, made, told, tryOnce }
}

test('what was wanted is made once, told about, and lent', async () => {
  const { checkpoints, made, told, tryOnce } = checkpointsWith()
  expect(checkpoints.facts(config('f'))).toEqual({ ready: false, initMs: 0, bytes: 0 })
  await tryOnce(config('f'))
  await tryOnce(config('f'))
  expect(made).toHaveBeenCalledOnce()
  expect(checkpoints.facts(config('f'))).toMatchObject({ ready: true, initMs: 7 })
  expect(told).toEqual(['CHECKPOINT careful'])
  const seen = await checkpoints.use(config('f'), async (directory) =>
    readFileSync(join(directory, 'pages.img'), 'utf8'),
  )
  expect(seen).toBe('pages')
  // Nobody else's, not even another revision's.
  expect(checkpoints.facts(config('f', 'r2')).ready).toBe(false)
})

test('one is made at a time', async () => {
  let running = 0
  let most = 0
  const { checkpoints } = checkpointsWith({
    make: async (wanted, directory) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      return writePages(wanted, directory)
    },
  })
  for (const name of ['a', 'b', 'c']) checkpoints.want(config(name))
  checkpoints.fill()
  checkpoints.fill()
  await vi.waitFor(() => expect(checkpoints.reports().filter(({ state }) => state === 'ready')).toHaveLength(3))
  expect(most).toBe(1)
})

test('a refusal stands, with its reason, and leaves nothing', async () => {
  const make = vi.fn(async () => Promise.reject(new RefusedError('opens a socket')))
  const { checkpoints, told, tryOnce } = checkpointsWith({ make })
  await tryOnce(config('f'))
  await tryOnce(config('f'))
  expect(make).toHaveBeenCalledOnce()
  expect(checkpoints.facts(config('f'))).toMatchObject({ ready: false, refused: 'opens a socket' })
  expect(told).toEqual(['CHECKPOINT none of this version: opens a socket'])
  expect(readdirSync(dir)).toEqual([])
})

test('what went wrong is tried again after a while, and not for ever', async () => {
  const make = vi.fn(async () => Promise.reject(new Error('no space')))
  const { checkpoints, tryOnce } = checkpointsWith({ make })
  await tryOnce(config('f'))
  await tryOnce(config('f'))
  expect(make).toHaveBeenCalledTimes(1)
  for (const times of [2, 3, 3]) {
    vi.advanceTimersByTime(6000)
    await tryOnce(config('f'))
    expect(make).toHaveBeenCalledTimes(times)
  }
  expect(checkpoints.facts(config('f')).refused).toContain('no space')
})

test('a damaged one that an earlier agent made is removed and made anew; a whole one is used', async () => {
  const before = checkpointsWith()
  await before.tryOnce(config('whole'))
  await before.tryOnce(config('damaged'))
  writeFileSync(join(dir, 'damaged-r1', 'pages.img'), 'page5')
  const after = checkpointsWith()
  // Not before it was checked.
  expect(after.checkpoints.facts(config('whole')).ready).toBe(false)
  await after.tryOnce(config('whole'))
  expect(after.made).not.toHaveBeenCalled()
  await after.tryOnce(config('damaged'))
  expect(after.made).toHaveBeenCalledOnce()
  expect(readFileSync(join(dir, 'damaged-r1', 'pages.img'), 'utf8')).toBe('pages')
})

test('one that is read by a start stays until the start has read it', async () => {
  let current = true
  const { checkpoints, tryOnce } = checkpointsWith({ isCurrent: async () => current })
  await tryOnce(config('f'))
  current = false
  let sweep: Promise<void> | undefined
  await checkpoints.use(config('f'), async (directory) => {
    sweep = checkpoints.sweep()
    await vi.waitFor(() => expect(checkpoints.facts(config('f')).ready).toBe(false))
    expect(readdirSync(directory)).toContain('pages.img')
  })
  await sweep
  expect(readdirSync(dir)).toEqual([])
})

test('what could not be restored is not used again', async () => {
  const { checkpoints, tryOnce } = checkpointsWith()
  await tryOnce(config('f'))
  checkpoints.damaged(config('f'))
  expect(checkpoints.facts(config('f')).ready).toBe(false)
  await vi.waitFor(() => expect(readdirSync(dir)).toEqual([]))
})

test('without a checkpoint of the runtime, for custom runtimes, or turned off, there is none, and why', () => {
  const { checkpoints } = checkpointsWith()
  expect(checkpoints.facts({ ...config('f'), runtime: 'python3.11' }).refused).toContain('no usable checkpoint')
  expect(checkpoints.facts({ ...config('f'), runtime: 'provided.al2023' }).refused).toContain('after the restore')
  const off = { versionCheckpoints: false, versionCheckpointsMiB: 1, versionCheckpointUnusedMs: 1, runtimes: {} }
  expect(checkpointsWith({ config: off }).checkpoints.facts(config('f')).refused).toContain('turned off')
})

test('an agent that begins removes what a killed one left half made', async () => {
  const store = openStore()
  await expect(store.publish('k', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(readdirSync(dir)).toEqual([])
  writeFileSync(join(dir, '.save-1-0'), '')
  await store.removeUnfinished()
  expect(readdirSync(dir)).toEqual([])
})
