import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CgroupTree } from './cgroup.ts'

let mountPoint = ''
beforeEach(() => void (mountPoint = mkdtempSync(join(tmpdir(), 'forkyard-cgroup-'))))
afterEach(() => rmSync(mountPoint, { recursive: true, force: true }))

test('all sandboxes together leave process ids to the rest of the machine', () => {
  expect(new CgroupTree('node', mountPoint).list()).toEqual([])
  const machine = Number(readFileSync('/proc/sys/kernel/pid_max', 'utf8'))
  const limit = Number(readFileSync(join(mountPoint, 'pids/node/pids.max'), 'utf8'))
  expect(limit).toBeGreaterThan(machine / 2)
  expect(limit).toBeLessThan(machine)
})

test.each([
  ['v1', ''],
  ['v2', 'cgroup.controllers'],
])('what the kernel refused and killed is in the evidence of a group on %s', (_version, marker) => {
  if (marker) writeFileSync(join(mountPoint, marker), '')
  const group = new CgroupTree('node', mountPoint).create('one')
  const dirOf = (controller: string) => {
    const dir = join(mountPoint, marker ? '' : controller, 'node/one')
    mkdirSync(dir, { recursive: true })
    return dir
  }
  expect(group.evidence()).toMatchObject({ oomKills: 0, refusedPids: 0 })
  writeFileSync(join(dirOf('pids'), 'pids.events'), 'max 7\n')
  writeFileSync(join(dirOf('memory'), marker ? 'memory.events' : 'memory.oom_control'), 'oom 3\noom_kill 2\n')
  expect(group.evidence()).toMatchObject({ oomKills: 2, refusedPids: 7 })
  expect([group.oomKills(), group.diesWhole]).toEqual([2, marker !== ''])
})

test('a group tells the CPU time of its processes, and none without any', () => {
  const group = new CgroupTree('node', mountPoint).create('one')
  expect(group.cpuMs()).toBe(0)
  const until = process.cpuUsage().user + 50_000
  while (process.cpuUsage().user < until);
  writeFileSync(join(mountPoint, 'memory/node/one/cgroup.procs'), `${process.pid}\n`)
  const { user, system } = process.cpuUsage()
  expect(group.cpuMs()).toBeGreaterThan(0.8 * ((user + system) / 1000) - 20)
})
