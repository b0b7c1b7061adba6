/** Two schedulers: one leads. It stands still or dies under load, and nobody's request notices more than a pause. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { PlacementLink } from '../../services/gateway/placement-link.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { configOf, leftoversOf, pidOf, type NodeService } from './host.ts'
import { installation } from './installation.ts'
import { freePort } from '../../scripts/free-ports.ts'

const target = installation()
const dir = mkdtempSync(join(tmpdir(), 'forkyard-schedulers-'))
const children: ChildProcess[] = []
const echo = `export const handler = async (event) => {
  if (event.holdMs) await new Promise((resolve) => setTimeout(resolve, event.holdMs))
  return event.n ?? null
}`

/** Another process of an installed service: its own program, with some of its configuration changed. */
const runBeside = async (service: NodeService, pid: number, config: object): Promise<ChildProcess> => {
  const file = join(dir, `${service}.json`)
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
  const [node = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean)
  const child = spawn(node, [...args.slice(0, args.indexOf('--config')), '--config', file], { stdio: 'ignore' })
  children.push(child)
  return child
}

const urlOf = (port: number): string => `http://127.0.0.1:${port}`
const untilReady = (url: string) =>
  vi.waitFor(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { timeout: 30_000, interval: 100 })
const leads = async (url: string): Promise<boolean> =>
  /^forkyard_scheduler_leads 1$/m.test(
    await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(1_000) })).text(),
  )
/** Recovery is to take five seconds; a busy machine may take longer. */
const untilLeads = (url: string) =>
  vi.waitFor(async () => expect(await leads(url)).toBe(true), { timeout: 20_000, interval: 50 })

const schedulerConfig = configOf(target, 'scheduler')
/** Of the installed one, while it is the only one. */
const firstPid = pidOf(target, 'scheduler')
const first = urlOf(schedulerConfig.listen.port)
let second: string
let secondScheduler: ChildProcess
let client: ReturnType<typeof lambdaClient>
const warm = uniqueName('warm')

const startSecond = async (): Promise<void> => {
  const port = await freePort()
  second = urlOf(port)
  secondScheduler = await runBeside('scheduler', firstPid, {
    ...schedulerConfig,
    id: 'second',
    listen: { ...schedulerConfig.listen, port },
  })
  await untilReady(second)
}

beforeAll(async () => {
  await startSecond()
  const [config, port] = [configOf(target, 'gateway'), await freePort()]
  await runBeside('gateway', pidOf(target, 'gateway'), {
    ...config,
    listen: { ...config.listen, port },
    publicUrl: urlOf(port),
    stagingDir: join(dir, 'staging'),
    schedulerUrls: [first, second],
    // No function here calls another; the first gateway has the port.
    calls: undefined,
  })
  await untilReady(urlOf(port))
  client = lambdaClient({ ...target, endpoint: urlOf(port) })
  const keep = { Tags: { 'forkyard:keep-alive-ms': '600000' } }
  await createFunction(client, warm, echo, { MemorySize: 128, ...keep })
  await invoke(client, warm, { n: 0 })
})

afterAll(async () => {
  process.kill(firstPid, 'SIGCONT')
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
  rmSync(dir, { recursive: true, force: true })
})

const isOk = (outcome: string): boolean => outcome === 'ok'

/** One caller after the other, as long as it lasts. @returns what became of each request. */
const load = () => {
  const stop = new AbortController()
  const outcomes: string[] = []
  const caller = async (): Promise<void> => {
    for (let n = 0; !stop.signal.aborted; n++) {
      try {
        const { json, functionError } = await invoke(client, warm, { n })
        outcomes.push(functionError ?? (json === n ? 'ok' : 'the answer to another request'))
      } catch (error) {
        outcomes.push((error as Error).name)
      }
      await delay(20)
    }
  }
  const callers = [caller(), caller()]
  return {
    isUnderWay: () =>
      vi.waitFor(() => expect(outcomes.filter(isOk).length).toBeGreaterThan(5), { timeout: 30_000, interval: 50 }),
    stop: async () => {
      stop.abort()
      await Promise.all(callers)
      return outcomes
    },
  }
}

/** A function that nothing is there for: only a scheduler that leads can have it started. */
const coldStart = async (): Promise<void> => {
  const cold = uniqueName('cold')
  await createFunction(client, cold, echo, { MemorySize: 128 })
  await vi.waitFor(async () => expect((await invoke(client, cold, { n: 7 })).json).toBe(7), {
    timeout: 20_000,
    interval: 100,
  })
}

const ask = (url: string) => {
  const link = new PlacementLink(url, schedulerConfig.internalToken)
  const request = {
    invocationId: uniqueName('stale'),
    revision: { tenant: 'default', name: 'nobody', version: '1', revisionId: 'r' },
    runtime: 'nodejs24.x',
    memoryMiB: 128,
    policy: { concurrency: 1, reuse: true },
    startWish: 'auto',
    deadlineAt: Date.now() + 1_000,
    excludeNodes: [],
  } as const
  const asked = link.place({ ...request, excludeNodes: [] }, AbortSignal.timeout(5_000))
  return asked.finally(() => link.close())
}

describe('of two schedulers', () => {
  it('one leads, and only that one places', async () => {
    await untilLeads(first)
    expect(await leads(second)).toBe(false)
    await expect(ask(second)).rejects.toMatchObject({ code: 'NOT_LEADER' })
  })

  it('the other takes over when the leader stands still; the leader is fenced when it goes on', async () => {
    const running = load()
    await running.isUnderWay()
    const held = invoke(client, warm, { n: 'held', holdMs: 6_000 })
    await delay(500)
    process.kill(firstPid, 'SIGSTOP')
    try {
      await untilLeads(second)
      await coldStart()
    } finally {
      process.kill(firstPid, 'SIGCONT')
    }
    await expect(ask(first)).rejects.toMatchObject({ code: 'NOT_LEADER' })
    expect(await leads(second)).toBe(true)
    expect((await held).json).toBe('held')
    expect((await running.stop()).filter((outcome) => !isOk(outcome))).toEqual([])
  })

  it('the other takes over when the leader is killed', async () => {
    expect(await leads(second)).toBe(true)
    const running = load()
    await running.isUnderWay()
    secondScheduler.kill('SIGKILL')
    await untilLeads(first)
    await coldStart()
    expect((await running.stop()).filter((outcome) => !isOk(outcome))).toEqual([])
  })

  it('none is needed for a function that is warm', async () => {
    await invoke(client, warm, { n: 1 })
    process.kill(firstPid, 'SIGSTOP')
    try {
      for (let n = 0; n < 5; n++) expect((await invoke(client, warm, { n })).json).toBe(n)
    } finally {
      process.kill(firstPid, 'SIGCONT')
    }
    await untilLeads(first)
    await coldStart()
  })

  it('nothing is left over', async () => {
    await vi.waitFor(async () => expect(await leftoversOf(target)).toEqual([]), { timeout: 30_000, interval: 500 })
  })
})
