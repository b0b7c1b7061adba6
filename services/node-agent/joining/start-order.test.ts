/** The real program, which NATS does not let in: it asks its gateway all the same, and says what it hears. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { ofInstallation, ofMachine } from './testing/joined-config.ts'

const main = join(import.meta.dirname, '..', 'main.ts')

it('a node that was removed while it was off learns of it when it begins', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'start-order-'))
  let asked = 0
  const gateway = createServer((request, response) => {
    asked++
    request.resume()
    response.writeHead(403, { 'content-type': 'application/json' }).end('{"code":"FORBIDDEN","message":"removed"}')
  })
  await once(gateway.listen(0, '127.0.0.1'), 'listening')
  const { port } = gateway.address() as AddressInfo
  const file = join(dir, 'config.json')
  const config = { ...ofInstallation({ urls: [`http://127.0.0.1:${port}`] }), ...ofMachine() }
  writeFileSync(file, JSON.stringify(config))
  const agent = spawn(process.execPath, [main, '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] })
  let log = ''
  agent.stdout.on('data', (text: Buffer) => (log += text.toString()))
  try {
    await vi.waitFor(() => expect(log).toContain('does not know this node'), 20_000)
    expect(asked).toBeGreaterThan(0)
    expect(agent.exitCode).toBeNull()
  } finally {
    agent.kill('SIGKILL')
    await once(agent, 'close')
    gateway.closeAllConnections()
    gateway.close()
    rmSync(dir, { recursive: true })
  }
})
