import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServiceSpec } from './service-spec.ts'
import { refuseTakenPort } from './service.ts'

const server = createServer((_request, response) => response.end())
let url: string

beforeEach(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/readyz`
})
afterEach(async () => {
  if (!server.listening) return
  server.close()
  await once(server, 'close')
})

const spec = (): ServiceSpec => ({
  name: 'gateway',
  installation: 'local',
  stateDir: '/var/lib/forkyard/local',
  command: [],
  files: [],
  ownedPaths: [],
  ready: { url },
  readyTimeoutMs: 1000,
  graceMs: 1000,
  privileges: 'none',
})

describe('a port that answers', () => {
  it('is refused where nothing of the service runs', async () => {
    await expect(refuseTakenPort(spec(), { hasProcesses: async () => false })).rejects.toThrow(
      /answers before gateway was started: another program has its port/,
    )
  })

  it('is its own where it runs', async () => {
    await expect(refuseTakenPort(spec(), { hasProcesses: async () => true })).resolves.toBeUndefined()
  })

  it('is its own where the host, which is booting, starts it between the two looks', async () => {
    let runs = false
    server.once('request', () => {
      runs = true
    })
    await expect(refuseTakenPort(spec(), { hasProcesses: async () => runs })).resolves.toBeUndefined()
  })

  it('is nobody where it does not answer', async () => {
    server.close()
    await once(server, 'close')
    await expect(refuseTakenPort(spec(), { hasProcesses: async () => false })).resolves.toBeUndefined()
  })
})
