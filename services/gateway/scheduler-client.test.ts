import fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { acceptLinks } from '../chassis/link/accept.ts'
import type { Message } from '../chassis/link/link.ts'
import { PlatformError } from '../contracts/errors.ts'
import { placementLink } from '../contracts/links.ts'
import type { PlacementRequest } from '../contracts/placement.ts'
import { createSchedulerClient, type SchedulerClient } from './scheduler-client.ts'

const token = 't'.repeat(32)
const apps: FastifyInstance[] = []
const clients: SchedulerClient[] = []

/** A scheduler that leads under the term that it is given, or does not lead. */
const startScheduler = async (term: number | undefined) => {
  const state = { term, asked: 0, told: [] as number[], over: [] as string[], refusal: undefined as Error | undefined }
  const app = fastify()
  const handle = ([kind, , first]: Message): Message => {
    if (kind === 'term') state.told.push(Number(first))
    if (kind === 'over') state.over.push(...(first as string[]))
    if (kind !== 'place') return []
    state.asked++
    if (state.refusal) throw state.refusal
    if (state.term === undefined) throw new PlatformError('NOT_LEADER', 'no')
    return [`node-of-${state.term}`, 'http://node', 'idle', 'test', state.term]
  }
  acceptLinks(app, { path: placementLink, token, open: () => ({ handle }) })
  apps.push(app)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { state, url, app }
}

const clientOf = (...urls: string[]): SchedulerClient => {
  const client = createSchedulerClient(urls, token)
  clients.push(client)
  return client
}

const asked = (invocationId: string, over: Partial<PlacementRequest> = {}): PlacementRequest => ({
  invocationId,
  revision: { tenant: 't', name: 'f', version: '1', revisionId: 'r' },
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy: { concurrency: 1, reuse: true },
  startWish: 'auto',
  deadlineAt: Date.now() + 30_000,
  excludeNodes: [],
  ...over,
})
const signal = (): AbortSignal => new AbortController().signal

afterEach(async () => {
  await Promise.all(clients.splice(0).map(async (client) => client.close()))
  await Promise.all(apps.splice(0).map(async (app) => app.close()))
})

describe('a gateway with two schedulers', () => {
  it('asks the one that leads, and stays with it', async () => {
    const [idle, leader] = [await startScheduler(undefined), await startScheduler(3)]
    const client = clientOf(idle.url, leader.url)
    for (const id of ['i1', 'i2', 'i3'])
      expect((await client.place(asked(id), signal(), true)).nodeId).toBe('node-of-3')
    expect([idle.state.asked, leader.state.asked]).toEqual([1, 3])
    client.over('i1')
    await vi.waitFor(() => expect(leader.state.over).toEqual(['i1']))
  })

  it('follows the lead when it goes over', async () => {
    const [a, b] = [await startScheduler(3), await startScheduler(undefined)]
    const client = clientOf(a.url, b.url)
    await client.place(asked('i1'), signal(), false)
    a.state.term = undefined
    b.state.term = 4
    expect((await client.place(asked('i2'), signal(), false)).nodeId).toBe('node-of-4')
  })

  it('takes nothing from one that was replaced and does not know it, and tells it so', async () => {
    const [stale, leader] = [await startScheduler(3), await startScheduler(4)]
    const client = clientOf(leader.url, stale.url)
    await client.place(asked('i1'), signal(), false)
    leader.state.term = undefined
    const late = client.place(asked('i2', { deadlineAt: Date.now() + 300 }), signal(), false)
    await expect(late).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(stale.state.asked).toBeGreaterThan(0)
    expect(stale.state.told).toContain(4)
  })

  it('passes on what the leader refuses, without asking another', async () => {
    const [leader, other] = [await startScheduler(3), await startScheduler(undefined)]
    leader.state.refusal = new PlatformError('NO_CAPACITY', 'full')
    await expect(clientOf(leader.url, other.url).place(asked('i1'), signal(), true)).rejects.toMatchObject({
      code: 'NO_CAPACITY',
    })
    expect(other.state.asked).toBe(0)
  })
})

describe('while no scheduler leads', () => {
  it('requests go where the last one of their revision went, if that is allowed', async () => {
    const scheduler = await startScheduler(3)
    const client = clientOf(scheduler.url)
    await client.place(asked('i1'), signal(), true)
    scheduler.state.term = undefined
    expect(await client.place(asked('i2'), signal(), true)).toMatchObject({ nodeId: 'node-of-3', direct: true })
    const others: PlacementRequest[] = [
      asked('i3', { revision: { ...asked('').revision, revisionId: 'other' }, deadlineAt: Date.now() + 100 }),
      asked('i4', { startWish: 'boot', deadlineAt: Date.now() + 100 }),
    ]
    for (const other of others)
      await expect(client.place(other, signal(), true)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const last = client.place(asked('i5', { deadlineAt: Date.now() + 100 }), signal(), false)
    await expect(last).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('those that may not wait until one does', async () => {
    const scheduler = await startScheduler(undefined)
    const client = clientOf(scheduler.url)
    const placed = client.place(asked('i1'), signal(), true)
    await vi.waitFor(() => expect(scheduler.state.asked).toBeGreaterThan(0))
    scheduler.state.term = 5
    expect(await placed).toMatchObject({ nodeId: 'node-of-5' })
  })
})
