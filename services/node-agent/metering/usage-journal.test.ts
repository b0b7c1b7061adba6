import { appendFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { UsageJournal, type UsageStart } from './usage-journal.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fy-journal-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const start = (invocationId: string): UsageStart => ({
  invocationId,
  attempt: 1,
  tenant: 't',
  name: 'f',
  version: '1',
  nodeId: 'n',
  instanceId: 'i',
  startType: 'warm',
  memoryMiB: 128,
  startedAt: 1000,
})
const end = (invocationId: string) => ({ ...start(invocationId), outcome: 'ok' as const, billedMs: 7 })

test('what had started and not ended is lost, billed up to the last sign of life', () => {
  let now = 1000
  const journal = new UsageJournal({ dir, now: () => now })
  journal.begin(start('a'))
  now = 1250
  journal.begin(start('b'))
  journal.end(end('b'))
  journal.close()
  const { replayed } = new UsageJournal({ dir })
  expect(replayed).toMatchObject([
    { invocationId: 'b', outcome: 'ok', billedMs: 7 },
    { invocationId: 'a', outcome: 'lost', billedMs: 250 },
  ])
})

test('a torn last line hides no other', () => {
  const journal = new UsageJournal({ dir })
  journal.begin(start('a'))
  journal.end(end('a'))
  journal.close()
  appendFileSync(join(dir, 'usage-1.log'), '0badc0de {"at":1,"start":{"invo')
  expect(new UsageJournal({ dir }).replayed).toMatchObject([{ invocationId: 'a', outcome: 'ok' }])
})

test('segments whose records are acknowledged are removed, oldest first', () => {
  const journal = new UsageJournal({ dir, segmentBytes: 300 })
  for (const id of ['a', 'b', 'c']) {
    journal.begin(start(id))
    journal.end(end(id))
  }
  const before = readdirSync(dir).length
  journal.acknowledged(end('b'))
  expect(readdirSync(dir).length).toBe(before)
  journal.acknowledged(end('a'))
  expect(readdirSync(dir).length).toBeLessThan(before)
  journal.close()
})

test('too many unacknowledged records refuse the next invocation', () => {
  const journal = new UsageJournal({ dir, maxUnacknowledged: 1 })
  journal.begin(start('a'))
  expect(() => journal.begin(start('b'))).toThrow(expect.objectContaining({ code: 'STORAGE_FULL' }) as Error)
  journal.close()
})
