/** What end-to-end tests of forks look at. */
import { vi } from 'vitest'
import type { SeedReport } from '../../services/node-agent/node-scheduler/seeds.ts'
import { seedsOf } from './host.ts'
import { installation } from './installation.ts'

/** A seed whose forks are kept is in use, and a node that was not told to keep any has few. */
export const briefly = { 'forkyard:keep-alive-ms': '2000' }
export const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }

export const seedOf = async (name: string): Promise<SeedReport | undefined> =>
  (await seedsOf(installation())).find(
    ({ revision, retired }) => revision.includes(`/${name}/`) && retired === undefined,
  )

export const parkedIs = (name: string, count: number): Promise<void> =>
  vi.waitFor(
    async () => {
      const seed = await seedOf(name)
      if (!seed || seed.children - seed.serving !== count) throw new Error(`seed: ${JSON.stringify(seed)}`)
    },
    { timeout: 20_000, interval: 20 },
  )
