import type { NatsConnection } from '@nats-io/transport-node'
import { pino } from 'pino'
import { expect, it, vi } from 'vitest'
import { memoryKv } from '../../gateway/testing/memory-kv.ts'
import { followRecords } from './follow-records.ts'

const connection = { status: async function* () {} } as unknown as NatsConnection

const follow = async (kv = memoryKv(), resyncMs = 30_000) => {
  const told: [string, unknown][] = []
  const close = await followRecords({
    kv,
    connection,
    logger: pino({ level: 'silent' }),
    resyncMs,
    filter: '>',
    read: (value) => {
      if (typeof value !== 'number') throw new Error('no number')
      return value
    },
    onChange: (key, record) => void told.push([key, record]),
  })
  return { kv, told, close }
}

it('knows what is there when it resolves, and then hears of every change', async () => {
  const kv = memoryKv()
  await kv.put('t.a', '1')
  const { told, close } = await follow(kv)
  expect(told).toEqual([['t.a', 1]])
  await kv.put('t.b', '2')
  await kv.delete('t.a')
  await vi.waitFor(() =>
    expect(told.slice(1)).toEqual(
      expect.arrayContaining([
        ['t.b', 2],
        ['t.a', undefined],
      ]),
    ),
  )
  close()
})

it('a record that cannot be read opens nothing, also where the one before did', async () => {
  const { kv, told, close } = await follow()
  await kv.put('t.bad', '"text"')
  await kv.put('t.a', '1')
  await vi.waitFor(() => expect(told).toEqual([['t.a', 1]]))
  await kv.put('t.a', '"text"')
  await vi.waitFor(() =>
    expect(told).toEqual([
      ['t.a', 1],
      ['t.a', undefined],
    ]),
  )
  close()
})

it('a record that came during a pass over the bucket stays, though the pass has not seen it', async () => {
  const kv = memoryKv()
  const history = kv.history.bind(kv)
  let late = true
  // The pass ends with what was there when it began.
  kv.history = async (...options) => {
    const entries = await history(...options)
    const before = []
    for await (const entry of entries) before.push({ ...entry })
    if (late) await kv.put('t.late', '1')
    late = false
    return (async function* () {
      yield* before
    })() as unknown as Awaited<ReturnType<typeof history>>
  }
  const { told, close } = await follow(kv, 20)
  await vi.waitFor(() => expect(told.length).toBeGreaterThan(0))
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(told.every(([, record]) => record === 1)).toBe(true)
  close()
})
