import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RuntimeName } from '../../../contracts/function.ts'
import type { StartInstance } from '../../../contracts/node.ts'
import { HabitsFile, type SavedHabits } from './habits-file.ts'
import { Habits } from './habits.ts'

let dir: string
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'habits-'))))
afterEach(() => rmSync(dir, { recursive: true }))

const logger = pino({ level: 'silent' })
const file = (): HabitsFile => new HabitsFile(join(dir, 'habits.json'), logger)
const runtimes: RuntimeName[] = ['nodejs24.x', 'python3.11']
const clock = { now: 1_000_000 }
const habitsOf = (saved?: SavedHabits): Habits => new Habits(runtimes, () => clock.now, saved)
const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r' }
const arrived = { invocationId: 'i', revision, forced: false }

describe('habits', () => {
  it('are known to the next run, in which the time between counts as idle', () => {
    const before = habitsOf()
    for (let time = 0; time < 3; time++) {
      before.arrived(arrived)
      clock.now += 10
      before.gone('i')
      clock.now += 1000
    }
    before.startCommanded({ instanceId: 'x', runtime: 'nodejs24.x' } as StartInstance)
    file().write(before.save())
    clock.now += 5000
    const after = habitsOf(file().read())
    after.arrived(arrived)
    const [habit] = after.all()
    expect(habit?.log.history()).toEqual({ gapsMs: [1000, 1000, 6000], overlaps: [1, 1, 1, 1] })
    expect(after.starts.get('nodejs24.x')?.history()).toMatchObject({ overlaps: [1], idleSince: clock.now - 5000 })
    expect(after.starts.get('python3.11')?.history().overlaps).toEqual([])
  })

  it('are learned anew where there is no file, or a damaged one', () => {
    expect(file().read()).toBeUndefined()
    for (const text of ['{"functions":', '{"functions":{"a":{"gapsMs":[-1]}},"runtimes":{}}']) {
      writeFileSync(join(dir, 'habits.json'), text)
      expect(file().read()).toBeUndefined()
    }
  })

  it('that cannot be written are told, and stop nobody', () => {
    new HabitsFile(join(dir, 'gone', 'habits.json'), logger).write(habitsOf().save())
    expect(readdirSync(dir)).toEqual([])
  })
})
