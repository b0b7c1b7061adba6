import { mkdirSync, mkdtempSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { cgroupParent, mountsBelow, removeLeftovers } from './leftovers.ts'

const line = (point: string) => `36 35 98:0 / ${point} rw,noatime master:1 - ext3 /dev/root rw`

it('mounts below the directories are listed, innermost first', () => {
  const mountinfo = ['/run/a', '/run/a/i/1', '/run/a/i/1/tmp', '/run/b', '/'].map(line).join('\n')
  expect(mountsBelow(['/run/a'], mountinfo)).toEqual(['/run/a/i/1/tmp', '/run/a/i/1', '/run/a'])
})

it('a directory whose name begins alike is not below', () => {
  expect(mountsBelow(['/run/a'], line('/run/ab'))).toEqual([])
})

it('the octal escapes of mountinfo are read', () => {
  expect(mountsBelow(['/run/a b'], line(String.raw`/run/a\040b/c`))).toEqual(['/run/a b/c'])
})

it('installations have control groups of their own', () => {
  expect(cgroupParent('a')).not.toBe(cgroupParent('b'))
})

it('removing is idempotent, and takes the shared directory only when it is empty', async () => {
  const base = mkdtempSync(join(tmpdir(), 'forkyard-leftovers-'))
  const shared = join(base, 'forkyard')
  const premises = { installation: 'unit-test', stateDir: join(shared, 'a'), runDir: join(shared, 'run-a') }
  mkdirSync(join(premises.stateDir, 'deep'), { recursive: true })
  writeFileSync(join(shared, 'other'), '')
  await removeLeftovers(premises)
  expect([existsSync(premises.stateDir), existsSync(shared)]).toEqual([false, true])
  rmSync(join(shared, 'other'))
  await removeLeftovers(premises)
  await removeLeftovers(premises)
  expect([existsSync(shared), existsSync(base)]).toEqual([false, true])
  rmSync(base, { recursive: true })
})
