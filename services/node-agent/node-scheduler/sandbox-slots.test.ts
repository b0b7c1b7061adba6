import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { InstanceEndpoint } from '../instance.ts'
import type { Cgroup, CgroupTree } from '../sandbox/cgroup.ts'
import { SandboxSlots } from './sandbox-slots.ts'

let runDir: string
beforeEach(() => void (runDir = mkdtempSync(join(tmpdir(), 'slots-'))))
afterEach(() => rmSync(runDir, { recursive: true }))

const setUp = () => {
  const groups = new Set<string>()
  const cgroups = {
    create: (name: string) => {
      groups.add(name)
      return { destroy: async () => void groups.delete(name) } as unknown as Cgroup
    },
  } as unknown as CgroupTree
  const live = new Set<string>()
  const close = vi.fn(async () => {})
  const openEndpoint = vi.fn(async (_id: string, _path: string) => ({ close }) as unknown as InstanceEndpoint)
  const slots = new SandboxSlots({
    host: { cgroups, runDir },
    gateway: { openEndpoint },
    live,
    logger: pino({ level: 'silent' }),
  })
  const filled = () => vi.waitFor(() => expect(slots.ids).toHaveLength(8))
  const left = () => [...groups, ...live, ...readdirSync(join(runDir, 'i'))]
  return { slots, live, close, openEndpoint, filled, left }
}

describe('slots', () => {
  it('are made ahead, and taken once each', async () => {
    const { slots, filled, openEndpoint } = setUp()
    slots.fill()
    slots.fill()
    await filled()
    const [first, second] = [await slots.take(), await slots.take()]
    expect(first.place.id).not.toBe(second.place.id)
    expect(openEndpoint).toHaveBeenCalledTimes(8)
    expect(slots.ids).toHaveLength(6)
    slots.fill()
    await filled()
  })

  it('are made by the start when none waits, with the directories that a sandbox needs', async () => {
    const { slots, live, openEndpoint } = setUp()
    const { place } = await slots.take()
    expect(live).toEqual(new Set([place.id]))
    expect(existsSync(join(runDir, 'i', place.id, 'b', 'rootfs'))).toBe(true)
    expect(openEndpoint).toHaveBeenCalledWith(place.id, join(runDir, 'i', place.id, 's', 'api.sock'))
  })

  it('leave nothing behind: dropped, closed, or refused by the host', async () => {
    const { slots, filled, openEndpoint, close, left } = setUp()
    slots.fill()
    await filled()
    await slots.drop(await slots.take())
    expect(left()).toHaveLength(3 * 7)
    openEndpoint.mockRejectedValueOnce(new Error('no more descriptors'))
    slots.fill()
    await vi.waitFor(() => expect(openEndpoint).toHaveBeenCalledTimes(9))
    await slots.close()
    expect(left()).toEqual([])
    expect(close).toHaveBeenCalledTimes(8)
    slots.fill()
    expect(slots.ids).toEqual([])
  })
})
