import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { writeManifest } from '../services/node-agent/checkpoint/manifest.ts'
import { changesOf, diagnosticsOf } from './engine-output.ts'
import { withSalt } from './engine.ts'
import { withLock } from './lock.ts'
import { damagedCheckpoints, missingFiles, protectedNames } from './stack-state.ts'
import { isOwned } from './orphans.ts'
import { describeChanges } from './up-summary.ts'

describe('the engine’s summary', () => {
  const summary = `Updating (local):
 ~  command:local:Command scheduler-process updated (0.67s)
Resources:
    + 3 created
    ~ 1 updated
    +-2 replaced
    4 changes. 32 unchanged

Duration: 4s
`
  it('is read by kind of change', () => {
    expect(changesOf(summary)).toEqual({ created: 3, updated: 1, replaced: 2 })
    expect(changesOf('Resources:\n    34 unchanged\n\nDuration: 3s\n')).toEqual({ unchanged: 34 })
    expect(changesOf('')).toEqual({})
  })

  it('is searched for what went wrong', () => {
    const failed =
      'Updating:\n + x\nDiagnostics:\n  command:local:Command (gateway-process):\n    error: no\nResources:\n    1 failed\n'
    expect(diagnosticsOf(failed)).toBe('  command:local:Command (gateway-process):\n    error: no')
    expect(diagnosticsOf('Diagnostics:\n  error: no')).toBe('  error: no')
    expect(diagnosticsOf('error: no stack named x')).toBeUndefined()
  })

  it('is told in words', () => {
    expect(describeChanges({ unchanged: 34 })).toBe('no changes')
    expect(describeChanges({ created: 3, unchanged: 2 })).toBe('3 created')
  })
})

describe('a stack’s configuration', () => {
  it('gets this machine’s salt, unless the tree has one', () => {
    expect(withSalt('config:\n  forkyard:tenant: a\n', 'v1:x')).toBe(
      'encryptionsalt: v1:x\nconfig:\n  forkyard:tenant: a\n',
    )
    expect(withSalt('encryptionsalt: v1:mine\nconfig: {}\n', 'v1:x')).toBe('encryptionsalt: v1:mine\nconfig: {}\n')
  })
})

const state = (...stdouts: unknown[]) =>
  JSON.stringify({
    checkpoint: { latest: { resources: stdouts.map((stdout, n) => ({ urn: `urn${n}`, outputs: { stdout } })) } },
  })
const has = (path: string) => path === '/there'

describe('files that the state speaks of', () => {
  it('are built again when they are gone', () => {
    const text = state(
      '{"imagePath":"/there"}',
      '{"checkpointPath":"/gone","key":"k"}',
      '',
      { ciphertext: 'x' },
      undefined,
    )
    expect(missingFiles(text, has)).toEqual(['urn1'])
  })

  it('are built again when they are a checkpoint that is not as it was made', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'forkyard-state-'))
    try {
      for (const name of ['checkpoint', 'pages_meta', 'pages']) writeFileSync(join(dir, `${name}.img`), name)
      const digest = await writeManifest(dir, { key: 'k' })
      const text = state(
        JSON.stringify({ checkpointPath: dir, key: 'k', digest }),
        '{"checkpointPath":"/gone","key":"k"}',
        '{"imagePath":"/"}',
      )
      expect(await damagedCheckpoints(text)).toEqual([])
      // The manifest agrees: only its own digest tells.
      writeFileSync(join(dir, 'pages.img'), 'other')
      await writeManifest(dir, { key: 'k' })
      expect(await damagedCheckpoints(text)).toEqual(['urn0'])
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('are none in a stack that was never brought up', () => {
    expect(missingFiles('{"checkpoint":{}}', has)).toEqual([])
  })
})

describe('what an update protected', () => {
  it('is known by name', () => {
    const resources = [
      { urn: 'urn:pulumi:blue::forkyard::forkyard:index:NatsServer::nats', protect: true },
      { urn: 'urn:pulumi:blue::forkyard::forkyard:index:Gateway::gateway', protect: false },
      { urn: 'urn:pulumi:blue::forkyard::command:local:Command::client-file' },
    ]
    expect(protectedNames(JSON.stringify({ checkpoint: { latest: { resources } } }))).toEqual(['nats'])
    expect(protectedNames('{"checkpoint":{}}')).toEqual([])
  })
})

describe('a command of an installation', () => {
  it('is known by its environment, by the whole name', () => {
    expect(isOwned('A=1\0FORKYARD_INSTALLATION=local\0', ['local'])).toBe(true)
    expect(isOwned('FORKYARD_INSTALLATION=local2\0', ['local'])).toBe(false)
    expect(isOwned('X_FORKYARD_INSTALLATION=local\0', ['local'])).toBe(false)
  })
})

describe('the lock', () => {
  it('lets one in at a time, and tells who waits', async () => {
    const events: string[] = []
    const first = Promise.withResolvers<void>()
    const entered = Promise.withResolvers<void>()
    const one = withLock('unit-test', async () => {
      events.push('one in')
      entered.resolve()
      await first.promise
      events.push('one out')
    })
    await entered.promise
    const waits = Promise.withResolvers<void>()
    const two = withLock('unit-test', async () => void events.push('two in'), waits.resolve)
    await waits.promise
    first.resolve()
    await Promise.all([one, two])
    expect(events).toEqual(['one in', 'one out', 'two in'])
  })

  it('is free again after a failure', async () => {
    await expect(withLock('unit-test', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await withLock('unit-test', async () => 'free')).toBe('free')
  })
})
