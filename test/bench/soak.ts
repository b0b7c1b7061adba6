/**
 * `npm run bench -- soak`: cold starts of one type one after another, each ended after its request, and what the installation holds
 * meanwhile: descriptors and memory of the services, processes, mounts, control groups, sockets, leftovers. Columns that are flat after
 * the warm-up are the result (plateau.ts); the command fails when one is not.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { leftoversOf, metricOf, pidOf, seedsOf, services } from '../e2e/host.ts'
import { machineState } from '../e2e/machine-state.ts'
import type { Premises } from '../../scripts/place.ts'
import { createFunction } from '../support/lambda.ts'
import { withInstallation } from './installation.ts'
import { describeMachine, type Machine } from './machine.ts'
import { leaksOf, type SoakRow } from './plateau.ts'

export const soakTypes = ['restore', 'restore-parked', 'fork', 'fork-parked', 'boot'] as const
export type SoakType = (typeof soakTypes)[number]

export interface SoakResult {
  readonly machine: Machine
  readonly rows: SoakRow[]
  /** Empty: nothing grew. */
  readonly leaks: string[]
}

const atATime = 4
/** For tear-downs to end before anything is counted. */
const settleMs = 3_000

/** A row each 1,000 starts; of shorter runs a quarter each. */
const batchesOf = (starts: number): number => Math.max(4, Math.ceil(starts / 1000))

const residentMiB = (pid: number): number =>
  Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)

/** Restores and forks that failed; their requests were started in another way. */
const failures = async (premises: Premises): Promise<number> =>
  (await metricOf(premises, 'node-agent', 'forkyard_node_restore_failures_total')) +
  (await metricOf(premises, 'node-agent', 'forkyard_node_fork_failures_total'))

const count = async (premises: Premises): Promise<SoakRow> => {
  const own = services.flatMap((service) => {
    const pid = pidOf(premises, service)
    const fds = readdirSync(`/proc/${pid}/fd`).length
    return [
      [`${service} fds`, fds],
      [`${service} MiB`, residentMiB(pid)],
    ] as const
  })
  const seeds = await seedsOf(premises)
  return {
    ...Object.fromEntries(own),
    ...machineState(premises),
    'seeds ended': await metricOf(premises, 'node-agent', 'forkyard_node_seed_ends_total'),
    'failed starts': await failures(premises),
    'seeds MiB': seeds.reduce((sum, { memoryMiB }) => sum + memoryMiB, 0),
    leftovers: (await leftoversOf(premises)).length,
  }
}

export const benchSoak = (type: SoakType, starts: number, progress: (line: string) => void): Promise<SoakResult> =>
  withInstallation({}, progress, async ({ client, signed, agent, premises }) => {
    const name = `soak-${Date.now().toString(36)}`
    const singleUse = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }
    await createFunction(client, name, `export const handler = async () => 1`, { Tags: singleUse })
    const done = { asAsked: 0, others: 0 }
    const [wanted] = type.split('-')
    const rows: SoakRow[] = [{ starts: 0, others: 0, ...(await count(premises)) }]
    const batches = batchesOf(starts)
    for (let batch = 1; batch <= batches; batch++) {
      let left = Math.ceil(starts / batches)
      const worker = async (): Promise<void> => {
        while (left-- > 0) done[(await signed.invoke(name, {}, type)).startType === wanted ? 'asAsked' : 'others']++
      }
      await Promise.all(Array.from({ length: atATime }, worker))
      await delay(settleMs)
      rows.push({ starts: done.asAsked + done.others, others: done.others, ...(await count(premises)) })
      progress(`${done.asAsked + done.others} of ${starts} starts`)
    }
    return { machine: describeMachine(agent), rows, leaks: leaksOf(rows) }
  })
