/** Handlers that do not want to end: dead at their time-out, billed up to it, and the next request is served. */
import type { CreateFunctionCommandInput } from '@aws-sdk/client-lambda'
import { describe, expect, it, vi } from 'vitest'
import type { StartWish } from '../../services/contracts/placement.ts'
import type { UsageRecord } from '../../services/contracts/usage.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type Files } from '../support/lambda.ts'
import { seedsOf, storedMessages } from './host.ts'
import { installation } from './installation.ts'
import { sandboxProcesses } from './machine-state.ts'

const target = installation()
const client = lambdaClient(target)

const ignoringShell = `trap '' TERM INT HUP QUIT; while :; do :; done`

const node: Files = {
  'index.mjs': `import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
const commands = () => readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).map((pid) => {
  try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8').replaceAll('\\0', ' ') } catch { return '' }
})
export const handler = async (event) => {
  if (event === 'look') return commands().filter((command) => command.includes('trap')).length
  if (event === 'wait') { await new Promise((r) => setTimeout(r, 700)); return 'unharmed' }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => {})
  if (event === 'children') {
    for (let i = 0; i < 3; i++) spawn('/bin/sh', ['-c', ${JSON.stringify(ignoringShell)}], { detached: true, stdio: 'ignore' })
    await new Promise(() => setInterval(() => {}, 1000))
  }
  if (event === 'native') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  for (;;);
}`,
}

const python: Files = {
  'index.py': `import ctypes, os, signal, subprocess, time
def handler(event, context):
    if event == "look":
        return 0
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(name, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    if event == "children":
        for _ in range(3):
            subprocess.Popen(["/bin/sh", "-c", ${JSON.stringify(ignoringShell)}], start_new_session=True)
        time.sleep(1000)
    if event == "native":
        ctypes.CDLL(None).sleep(1000)
    while True:
        pass
`,
}

const ways = ['loop', 'children', 'native'] as const

const create = async (files: Files, input: Partial<CreateFunctionCommandInput> = {}): Promise<string> => {
  const name = uniqueName('endless')
  await createFunction(client, name, files, { Timeout: 1, MemorySize: 256, ...input })
  return name
}

/** Each way of not ending, all at the same time. @returns the usage records of these invocations. */
const timeOut = async (name: string, start: Exclude<StartWish, 'auto'>): Promise<UsageRecord[]> => {
  const answers = await Promise.all(ways.map((way) => invoke(client, name, way, { LogType: 'Tail', start })))
  for (const { json, logTail, startType } of answers) {
    expect(json).toMatchObject({
      errorType: 'Sandbox.Timedout',
      errorMessage: expect.stringContaining('1.00 seconds') as string,
    })
    // Exactly the time-out: how long the platform took to end it is not the user's.
    expect(logTail).toMatch(/Billed Duration: 1000 ms.*Status: timeout/)
    expect(startType).toBe(start.split('-')[0])
  }
  const ids = answers.map(({ requestId }) => requestId)
  return vi.waitFor(
    async () => {
      const records = (await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${name}.>`)).filter(
        ({ invocationId }) => ids.includes(invocationId),
      )
      expect(records.map(({ outcome, billedMs }) => [outcome, billedMs])).toEqual(ways.map(() => ['timeout', 1000]))
      return records
    },
    { timeout: 10_000, interval: 100 },
  )
}

describe('a handler that ignores signals, loops, sleeps in native code or hides in its children', () => {
  it.each<['nodejs24.x' | 'python3.11', Exclude<StartWish, 'auto'>]>([
    ['nodejs24.x', 'boot'],
    ['nodejs24.x', 'restore'],
    ['nodejs24.x', 'restore-precreated'],
    ['python3.11', 'boot'],
    ['python3.11', 'restore'],
  ])('of %s, started by %s, is dead with its sandbox after its time-out', async (runtime, start) => {
    const name = await create(runtime === 'python3.11' ? python : node, { Runtime: runtime })
    const records = await timeOut(name, start)
    expect(new Set(records.map(({ instanceId }) => instanceId)).size).toBe(ways.length)
    await vi.waitFor(
      () => expect(records.flatMap(({ instanceId }) => sandboxProcesses(target, instanceId))).toEqual([]),
      { timeout: 5_000, interval: 20 },
    )
    expect(await invoke(client, name, 'look')).toMatchObject({ json: 0, functionError: undefined })
  })

  it('in a fork is dead with all its children after its time-out; its seed and its siblings are not', async () => {
    const name = await create(node)
    await invoke(client, name, 'look', { start: 'fork' })
    const seedOf = async () => (await seedsOf(target)).find(({ revision }) => revision.includes(`/${name}/`))
    const seedId = (await seedOf())?.seedId
    const siblings = [1, 2].map(() => invoke(client, name, 'wait', { start: 'fork' }))
    await timeOut(name, 'fork')
    for (const sibling of siblings) expect(await sibling).toMatchObject({ json: 'unharmed', startType: 'fork' })
    // Nothing of them is left in the sandbox of the seed, which another fork sees.
    await vi.waitFor(
      async () =>
        expect(await invoke(client, name, 'look', { start: 'fork' })).toMatchObject({ json: 0, startType: 'fork' }),
      { timeout: 5_000, interval: 20 },
    )
    const seed = await seedOf()
    expect([seed?.seedId, seed?.retired]).toEqual([seedId, undefined])
  })
})
