import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type AddressInfo } from 'node:net'
import { jetstreamManager, StorageType } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'

const natsServer = process.env['FORKYARD_NATS_SERVER'] ?? join(homedir(), '.cache/forkyard/dev/nats-server')
const child = join(import.meta.dirname, 'metering-child.ts')
let dir: string
let nats: ChildProcess
let servers: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fy-metering-'))
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  servers = `127.0.0.1:${port}`
  nats = spawn(natsServer, ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', join(dir, 'nats')], {
    stdio: 'ignore',
  })
})
afterAll(async () => {
  nats.kill()
  await once(nats, 'exit')
  rmSync(dir, { recursive: true })
})

test('an agent killed at random points loses no usage record and doubles none', async () => {
  const connection = await connect({ servers, maxReconnectAttempts: -1, waitOnFirstConnect: true })
  const manager = await jetstreamManager(connection)
  await manager.streams.add({ name: 'USAGE', subjects: ['usage.>'], storage: StorageType.File })
  const begun: string[] = []
  for (let run = 0; run < 8; run++) {
    const agent = spawn(process.execPath, [child, join(dir, 'journal'), servers, String(run)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const killAfter = 1 + Math.floor(Math.random() * 150)
    let text = ''
    agent.stdout.on('data', (part: Buffer) => {
      text += part.toString()
      if (text.split('\n').length > killAfter) agent.kill('SIGKILL')
    })
    await once(agent, 'close')
    begun.push(...text.split('\n').filter(Boolean))
  }
  const last = spawn(process.execPath, [child, join(dir, 'journal'), servers, 'x', 'drain'], { stdio: 'inherit' })
  expect(await once(last, 'exit')).toEqual([0, null])
  const { state } = await manager.streams.info('USAGE', { subjects_filter: 'usage.>' })
  const counts = state.subjects ?? {}
  expect(begun.length).toBeGreaterThan(7)
  expect(begun.filter((id) => counts[`usage.t.f.${id}.1`] !== 1)).toEqual([])
  // A record may exist for an invocation whose id was not printed before the kill: at most one a run, never two of one id.
  expect(Object.values(counts).every((count) => count === 1)).toBe(true)
  expect(Object.keys(counts).length - begun.length).toBeLessThanOrEqual(8)
  await connection.close()
})
