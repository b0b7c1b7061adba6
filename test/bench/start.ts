/**
 * `npm run bench -- start`: client request to answer for each way of starting, interleaved with the reference in one run, since
 * the machine's speed drifts. Each round starts every kind once, in an order that is turned by one each round.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DeleteFunctionCommand } from '@aws-sdk/client-lambda'
import type { RuntimeName } from '../../services/contracts/function.ts'
import { startWishes, type StartWish } from '../../services/contracts/placement.ts'
import type { Premises } from '../../scripts/place.ts'
import { versionCheckpointsOf } from '../e2e/host.ts'
import { createFunction } from '../support/lambda.ts'
import { withInstallation, type Installation } from './installation.ts'
import { describeMachine, type Machine } from './machine.ts'
import { totalPssMiB } from './memory.ts'
import type { SignedClient } from './signed-invocation.ts'
import { cleanReference, measureReference } from './reference.ts'
import { summarise, type Summary } from './statistics.ts'
import { waterfallOf, type TimedAnswer, type Waterfall } from './waterfall.ts'

export interface StartResult {
  readonly machine: Machine
  readonly rows: Summary[]
  readonly waterfalls: Waterfall[]
}

/** The same program in each language that can be measured: answers at once, or after a while. */
const programs = {
  'nodejs24.x': {
    file: 'index.js',
    source: `exports.handler = async (event) => {
  if (event.holdMs) await new Promise((resolve) => setTimeout(resolve, event.holdMs))
  return { ok: true }
}
`,
  },
  'python3.11': {
    file: 'index.py',
    source: `import time

def handler(event, context):
    if event.get("holdMs"):
        time.sleep(event["holdMs"] / 1000)
    return {"ok": True}
`,
  },
} as const satisfies Partial<Record<RuntimeName, { file: string; source: string }>>
export type BenchRuntime = keyof typeof programs
export const benchRuntimes = Object.keys(programs) as BenchRuntime[]

type Wish = Exclude<StartWish, 'auto'>
export const coldStarts = startWishes.filter((wish): wish is Wish => wish !== 'auto')

/** As many as are held while the memory of one more is measured. */
const ahead = { precreatedSandboxes: '4', parkedRestores: '4', seeds: '2', parkedForks: '4' }

/** Tear-down of the last instance, and the refill of the created sandboxes, are not the next sample's. */
const settleMs = 250
const warmCallsARound = 5
const warmPauseMs = 10

/** Instances held at the same time while their memory is measured. */
const held = { before: 2, more: 4 }

/** @throws when the platform used another start type than the row is about. */
const timed = async (signed: SignedClient, name: string, start?: Wish, event: unknown = {}): Promise<TimedAnswer> => {
  const { startType, ...answer } = await signed.invoke(name, event, start)
  const [wanted = ''] = (start ?? 'warm').split('-')
  if (startType !== wanted) throw new Error(`${name}: asked for ${start ?? 'warm'}, started by ${startType}`)
  return answer
}

/** A warm instance is one that is in use: several calls in a row, all of which count. */
const warmCalls = async (signed: SignedClient, name: string): Promise<TimedAnswer[]> => {
  const taken: TimedAnswer[] = []
  for (let call = 0; call < warmCallsARound; call++) {
    // The instance asks for its next request only after its answer: who is faster gets another one.
    if (call > 0) await delay(warmPauseMs)
    taken.push(await timed(signed, name))
  }
  return taken
}

/** Memory of one more instance, beside some that share with it what can be shared: the difference that several more make, shared out. */
const extraPss = async (signed: SignedClient, name: string, start: Wish, cgroupParent: string): Promise<number> => {
  const hold = (count: number, holdMs: number) =>
    Array.from({ length: count }, () => timed(signed, name, start, { holdMs }))
  const there = hold(held.before, 10_000)
  await delay(3500)
  const before = totalPssMiB(cgroupParent)
  const more = hold(held.more, 6000)
  await delay(4000)
  const during = totalPssMiB(cgroupParent)
  await Promise.all([...there, ...more])
  return (during - before) / held.more
}

/** @throws when the version is not saved within a minute, or cannot be. */
const untilSaved = async (premises: Premises, name: string): Promise<void> => {
  for (let tries = 0; tries < 300; tries++) {
    const found = (await versionCheckpointsOf(premises)).find(({ revision }) => revision.includes(`/${name}/`))
    if (found?.state === 'ready') return
    if (found?.state === 'refused') throw new Error(`${name} cannot be saved: ${JSON.stringify(found)}`)
    await delay(200)
  }
  throw new Error(`${name} was not saved`)
}

type Progress = (line: string) => void

export interface StartBenchInput {
  readonly runtime: BenchRuntime
  readonly rounds: number
  /** Only these rows, besides the reference. Absent: all. */
  readonly only?: readonly string[] | undefined
}

export const benchStart = (input: StartBenchInput, progress: Progress): Promise<StartResult> => {
  const settings = { ...ahead, runtimes: JSON.stringify([input.runtime]) }
  return withInstallation(settings, progress, (installation) => measure(installation, input, progress))
}

const measure = async (
  { client, signed, agent, premises }: Installation,
  { runtime: runtimeName, rounds, only }: StartBenchInput,
  progress: Progress,
): Promise<StartResult> => {
  const runtime = agent.runtimes[runtimeName]
  if (!runtime) throw new Error(`this node does not offer ${runtimeName}`)
  const { file, source } = programs[runtimeName]
  const isWanted = (name: string) => only?.includes(name) ?? true
  const wishes = coldStarts.filter(isWanted)
  const codeDir = mkdtempSync(join(tmpdir(), 'forkyard-bench-'))
  const workDir = mkdtempSync('/run/fy-bench-')
  const suffix = Date.now().toString(36)
  // Cold rows must never find an idle instance; the warm row must always find one.
  const names = { cold: `bench-cold-${suffix}`, warm: `bench-warm-${suffix}` }
  try {
    writeFileSync(join(codeDir, file), source)
    // The sandbox's user is not the one who made it.
    chmodSync(codeDir, 0o755)
    const code = { [file]: source }
    const common = { Runtime: runtimeName, Timeout: 60 }
    const singleUse = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }
    await createFunction(client, names.cold, code, { ...common, Tags: singleUse })
    await createFunction(client, names.warm, code, { ...common, Tags: { 'forkyard:keep-alive-ms': '600000' } })
    const reference = () =>
      measureReference({ runscPath: agent.runscPath, runtime, codeDir, handler: 'index.handler', workDir })
    const kinds = new Map<string, () => Promise<TimedAnswer[]>>([
      ['runsc-run', async () => [{ tookMs: await reference(), serverTiming: '' }]],
      ...wishes.map((wish) => [wish, async () => [await timed(signed, names.cold, wish)]] as const),
      ...(isWanted('warm') ? [['warm', () => warmCalls(signed, names.warm)] as const] : []),
    ])
    await signed.invoke(names.warm, {})
    // What a deployed function has: the node saves it in the background after its first start.
    await signed.invoke(names.cold, {}, 'restore')
    await untilSaved(premises, names.cold)
    // The first of each kind warms page caches, connections and compilers on both sides; it does not count.
    for (const kind of kinds.values()) {
      await kind()
      await delay(settleMs)
    }
    const samples = new Map([...kinds.keys()].map((name) => [name, [] as TimedAnswer[]]))
    for (let round = 0; round < rounds; round++) {
      const order = [...kinds.keys()].map((_, index, all) => all[(index + round) % all.length] ?? '')
      for (const name of order) {
        samples.get(name)?.push(...((await kinds.get(name)?.()) ?? []))
        await delay(settleMs)
      }
      progress(`round ${round + 1} of ${rounds}`)
    }
    const pss = new Map<string, number>()
    for (const wish of wishes) pss.set(wish, await extraPss(signed, names.cold, wish, agent.cgroupParent))
    const took = (name: string) => (samples.get(name) ?? []).map(({ tookMs }) => tookMs)
    const kindNames = [...samples.keys()]
    return {
      machine: describeMachine(agent),
      rows: kindNames.map((name) => summarise(name, took(name), took('runsc-run'), pss.get(name) ?? null)),
      waterfalls: kindNames.slice(1).map((name) => waterfallOf(name, samples.get(name) ?? [])),
    }
  } finally {
    for (const FunctionName of Object.values(names))
      await client.send(new DeleteFunctionCommand({ FunctionName })).catch(() => undefined)
    cleanReference(workDir)
    rmSync(codeDir, { recursive: true, force: true })
  }
}
