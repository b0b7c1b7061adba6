import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { abandonedBuilders, builderName, pidNamespace } from './abandoned.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'forkyard-builders-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const dead = 4_194_304
const run = (name: string): void => void mkdirSync(join(dir, 'run', name), { recursive: true })
const group = (name: string, procs: string, hours: number): void => {
  for (const hierarchy of ['memory', 'pids']) {
    const path = join(dir, 'cgroup', hierarchy, name)
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, 'cgroup.procs'), procs)
    const then = Date.now() / 1000 - hours * 3600
    utimesSync(path, then, then)
  }
}
const abandoned = (): string[] => abandonedBuilders(join(dir, 'run'), join(dir, 'cgroup'), '1').toSorted()

it('two builders with one pid in different namespaces have different names', () => {
  expect(builderName(7, '1')).not.toBe(builderName(7, '2'))
  expect(builderName(7)).toContain(pidNamespace())
})

it('of this namespace those are abandoned whose process is gone', () => {
  run(builderName(process.pid, '1'))
  group(builderName(process.pid, '1'), '', 9)
  run(builderName(dead, '1'))
  group(builderName(dead + 1, '1'), '', 0)
  expect(abandoned()).toEqual([builderName(dead, '1'), builderName(dead + 1, '1')])
})

it('of another namespace those in whose groups nothing has been for long', () => {
  group(builderName(dead, '2'), '', 2)
  group(builderName(dead, '3'), '', 0)
  group(builderName(dead, '4'), '77\n', 2)
  run(builderName(dead, '5'))
  expect(abandoned()).toEqual([builderName(dead, '2')])
})

it('what is named otherwise is nobody’s to remove', () => {
  run('fy-checkpoint-x')
  run('forkyard')
  group('forkyard-local', '', 9)
  expect(abandoned()).toEqual([])
})
