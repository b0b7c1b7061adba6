/**
 * `npm run bench -- soak`: cold starts one after another, each ended after its request, and what the machine holds meanwhile:
 * descriptors and memory of the services, processes and mounts of the machine, leftovers. Flat columns are the result.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { leftoversOf, pidOf, services } from '../e2e/host.ts'
import type { Premises } from '../../scripts/place.ts'
import { createFunction } from '../support/lambda.ts'
import { withInstallation } from './installation.ts'
import { describeMachine, type Machine } from './machine.ts'

export type SoakRow = Readonly<Record<string, number>>

export interface SoakResult {
  readonly machine: Machine
  readonly rows: SoakRow[]
}

const batches = 4
const atATime = 4
/** For tear-downs to end before anything is counted. */
const settleMs = 3_000

const residentMiB = (pid: number): number =>
  Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)

const count = async (premises: Premises): Promise<SoakRow> => {
  const own = services.flatMap((service) => {
    const pid = pidOf(premises, service)
    const fds = readdirSync(`/proc/${pid}/fd`).length
    return [
      [`${service} fds`, fds],
      [`${service} MiB`, residentMiB(pid)],
    ] as const
  })
  return {
    ...Object.fromEntries(own),
    processes: readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).length,
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n').length,
    leftovers: (await leftoversOf(premises)).length,
  }
}

export const benchSoak = (starts: number, progress: (line: string) => void): Promise<SoakResult> =>
  withInstallation({}, progress, async ({ client, signed, agent, premises }) => {
    const name = `soak-${Date.now().toString(36)}`
    const singleUse = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }
    await createFunction(client, name, `export const handler = async () => 1`, { Tags: singleUse })
    const done = { restore: 0, other: 0 }
    const rows = [{ starts: 0, notRestored: 0, ...(await count(premises)) }]
    for (let batch = 1; batch <= batches; batch++) {
      let left = Math.ceil(starts / batches)
      const worker = async (): Promise<void> => {
        while (left-- > 0) done[(await signed.invoke(name, {})).startType === 'restore' ? 'restore' : 'other']++
      }
      await Promise.all(Array.from({ length: atATime }, worker))
      await delay(settleMs)
      rows.push({ starts: done.restore + done.other, notRestored: done.other, ...(await count(premises)) })
      progress(`${done.restore + done.other} of ${starts} starts`)
    }
    return { machine: describeMachine(agent), rows }
  })
