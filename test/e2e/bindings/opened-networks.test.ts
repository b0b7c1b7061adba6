/** Bindings that open addresses as they are: a subnet, and the internet, which has no private subnet in it. */
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import type { Bindings } from '../../../services/contracts/bindings.ts'
import { startTrafficTarget, type TrafficTarget } from '../../support/traffic-target.ts'
import { installation } from '../installation.ts'
import { ask, networked } from '../networked.ts'

const target = installation()
/** Routed publicly, and here to the test's own namespace alone. */
const publicAddress = `11.22.33.${(process.pid % 250) + 1}`
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' })

let outside: TrafficTarget
beforeAll(async () => {
  outside = await startTrafficTarget()
  ip('-n', outside.netns, 'addr', 'add', `${publicAddress}/32`, 'dev', 'eth0')
  // Goes with the device.
  ip('route', 'add', `${publicAddress}/32`, 'dev', outside.device)
})
afterAll(() => outside.close())

const bound = async (bindings: Bindings): Promise<string> => {
  const name = await networked('opened')
  const path = `/forkyard/v1/functions/${name}/bindings`
  await signedFetch(target, { method: 'PUT', path, body: { bindings } })
  return name
}
const steps = () => [
  { tcp: outside.address4, port: 7001 },
  { tcp: outside.address4, port: 7002 },
  { tcp: outside.other4, port: 7001 },
  { tcp: publicAddress, port: 7001 },
]
const answered = expect.stringMatching(/ hello$/) as unknown

it.each(['boot', 'restore'] as const)('a subnet is open on its ports, and nothing else, after a %s', async (start) => {
  const name = await bound({ lan: { type: 'subnet', cidrs: [`${outside.address4}/32`], ports: [7001] } })
  expect(await ask(name, steps(), { start })).toEqual([answered, 'SILENT', 'SILENT', 'SILENT'])
})

it('the internet is open, and no private subnet; both beside each other are', async () => {
  const web = { type: 'internet', ports: [7001] } as const
  const name = await bound({ web: { ...web, ports: [...web.ports] } })
  expect(await ask(name, steps())).toEqual(['SILENT', 'SILENT', 'SILENT', answered])
  const both = await bound({
    web: { ...web, ports: [...web.ports] },
    lan: { type: 'subnet', cidrs: [`${outside.address4}/32`] },
  })
  expect(await ask(both, steps())).toEqual([answered, answered, 'SILENT', answered])
})

it('what is taken away is shut within a second', async () => {
  const name = await bound({ lan: { type: 'subnet', cidrs: [`${outside.address4}/32`] } })
  expect(await ask(name, steps().slice(0, 1))).toEqual([answered])
  await signedFetch(target, { method: 'DELETE', path: `/forkyard/v1/functions/${name}/bindings` })
  await vi.waitFor(async () => expect(await ask(name, steps().slice(0, 1))).not.toEqual([answered]), {
    timeout: 10_000,
    interval: 200,
  })
})
