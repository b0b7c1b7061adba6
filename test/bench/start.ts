/**
 * `npm run bench -- start`: client request to answer for each way of starting, interleaved with the reference in one run, since
 * the machine's speed drifts. Each round starts every kind once, in an order that is turned by one each round.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  CreateFunctionCommand,
  DeleteFunctionCommand,
  InvokeCommand,
  type LambdaClient,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { ZipFile } from 'yazl'
import { buffer } from 'node:stream/consumers'
import { openInstallation } from './installation.ts'
import { describeMachine, type Machine } from './machine.ts'
import { totalPssMiB } from './memory.ts'
import { cleanReference, measureReference } from './reference.ts'
import { summarise, type Summary } from './statistics.ts'

export interface StartResult {
  readonly machine: Machine
  readonly rows: Summary[]
}

const source = `exports.handler = async (event) => {
  if (event.holdMs) await new Promise((resolve) => setTimeout(resolve, event.holdMs))
  return { ok: true }
}
`

/** Start wishes of the request header, by row of the table. */
const wishes = {
  boot: 'boot',
  restore: 'restore',
  'restore-precreated': 'restore-precreated',
  warm: undefined,
} as const
type Row = keyof typeof wishes

const zip = async (): Promise<Buffer> => {
  const file = new ZipFile()
  file.addBuffer(Buffer.from(source), 'index.js')
  file.end()
  return buffer(file.outputStream)
}

const invoke = async (
  client: LambdaClient,
  name: string,
  wish: string | undefined,
  event: unknown,
): Promise<number> => {
  const command = new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)) })
  if (wish) {
    command.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { headers: Record<string, string> }
        request.headers['x-forkyard-start'] = wish
        return next(args)
      },
      { step: 'build' },
    )
  }
  const from = performance.now()
  const { FunctionError, Payload } = await client.send(command)
  const took = performance.now() - from
  if (FunctionError) throw new Error(`${name}: ${FunctionError} ${Buffer.from(Payload ?? []).toString()}`)
  return took
}

const createFunction = async (client: LambdaClient, name: string, tags: Record<string, string>): Promise<void> => {
  await client.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'nodejs24.x' as never,
      Role: 'arn:aws:iam::000000000000:role/bench',
      Handler: 'index.handler',
      Code: { ZipFile: await zip() },
      Timeout: 60,
      Tags: tags,
    }),
  )
  await waitUntilFunctionActiveV2({ client, maxWaitTime: 30 }, { FunctionName: name })
}

/** Memory of one more instance: several are held busy at the same time, and the difference is shared out. */
const extraPss = async (client: LambdaClient, name: string, wish: Row, parent: string): Promise<number> => {
  const count = 4
  const before = totalPssMiB(parent)
  const held = Array.from({ length: count }, () => invoke(client, name, wishes[wish], { holdMs: 6000 }))
  await delay(4000)
  const during = totalPssMiB(parent)
  await Promise.all(held)
  return (during - before) / count
}

export const benchStart = async (rounds: number, progress: (line: string) => void): Promise<StartResult> => {
  const { client, agent } = openInstallation()
  const runtime = agent.runtimes['nodejs24.x']
  if (!runtime) throw new Error('this node does not offer nodejs24.x')
  const codeDir = mkdtempSync(join(tmpdir(), 'forkyard-bench-'))
  const workDir = mkdtempSync('/run/fy-bench-')
  const suffix = Date.now().toString(36)
  // Cold rows must never find an idle instance; the warm row must always find one.
  const [cold, warm] = [`bench-cold-${suffix}`, `bench-warm-${suffix}`]
  try {
    mkdirSync(codeDir, { recursive: true })
    writeFileSync(join(codeDir, 'index.js'), source)
    await createFunction(client, cold, { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' })
    await createFunction(client, warm, { 'forkyard:keep-alive-ms': '600000' })
    const reference = () =>
      measureReference({ runscPath: agent.runscPath, runtime, codeDir, handler: 'index.handler', workDir })
    const kinds: Record<Row | 'runsc-run', () => Promise<number>> = {
      'runsc-run': reference,
      boot: () => invoke(client, cold, wishes.boot, {}),
      restore: () => invoke(client, cold, wishes.restore, {}),
      'restore-precreated': () => invoke(client, cold, wishes['restore-precreated'], {}),
      warm: () => invoke(client, warm, undefined, {}),
    }
    const names = Object.keys(kinds) as (keyof typeof kinds)[]
    const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<string, number[]>
    // The first of each kind warms page caches, connections and compilers on both sides; it does not count.
    for (const name of names) await kinds[name]()
    for (let round = 0; round < rounds; round++) {
      for (let index = 0; index < names.length; index++) {
        const name = names[(index + round) % names.length] as keyof typeof kinds
        samples[name]?.push(await kinds[name]())
        // Tear-down of the last instance, and the refill of the created ones, are not this sample's.
        await delay(250)
      }
      progress(`round ${round + 1} of ${rounds}`)
    }
    const pss: Partial<Record<string, number>> = {}
    for (const row of ['boot', 'restore', 'restore-precreated'] as const)
      pss[row] = await extraPss(client, cold, row, agent.cgroupParent)
    const referenceSamples = samples['runsc-run'] ?? []
    return {
      machine: describeMachine(agent.runscPath),
      rows: names.map((name) => summarise(name, samples[name] ?? [], referenceSamples, pss[name] ?? null)),
    }
  } finally {
    for (const name of [cold, warm])
      await client.send(new DeleteFunctionCommand({ FunctionName: name })).catch(() => undefined)
    cleanReference(workDir)
    rmSync(codeDir, { recursive: true, force: true })
  }
}
