import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { buffer, text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startFakeNode, type FakeNode } from '../test/fake-node.ts'
import { compileInit } from './install.ts'
import { freePort } from '../../scripts/free-ports.ts'

const example = join(import.meta.dirname, '..', '..', 'examples', 'custom-runtime', 'bootstrap')

let built: string
let node: FakeNode
let port: number
let stop: () => Promise<void>
beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), 'fy-init-'))
  compileInit(join(built, 'init'))
}, 60_000)
afterAll(() => rmSync(built, { recursive: true }))
beforeEach(async () => {
  node = await startFakeNode()
  port = await freePort()
})
afterEach(async () => {
  await stop()
  await node.close()
})

/** @returns the exit status, and what was printed. */
const start = (bootstrap: string | undefined, mode = 0o755, environment: Record<string, string> = {}) => {
  if (bootstrap !== undefined) {
    writeFileSync(join(node.dir, 'bootstrap'), bootstrap)
    chmodSync(join(node.dir, 'bootstrap'), mode)
  }
  // In a group of its own: a bootstrap must not outlive the test.
  const child = spawn(join(built, 'init'), {
    env: { FORKYARD_API_SOCKET: node.socketPath, FORKYARD_API_PORT: String(port), HOME: '/tmp', ONLY_BEFORE: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const exited = once(child, 'close').then(async ([code]) => ({
    code: code as number,
    output: (await output).join(''),
  }))
  node.assign({ environment })
  stop = async () => {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {
      // Gone already.
    }
    await exited
  }
  return exited
}

const idle = '#!/bin/sh\ntouch started\nexec sleep 60\n'
const client = new Agent({ keepAlive: true })
const call = async (method: string, path: string, body?: Buffer | Readable, agent = client) => {
  const request = httpRequest({ host: '127.0.0.1', port, method, path: `/2018-06-01/runtime/${path}`, agent })
  if (body instanceof Readable) body.pipe(request)
  else request.end(body)
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) }
}
const untilOpen = async (): Promise<void> => {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (open) return
    await delay(5)
  }
}

test('the example answers, in its directory, with the assignment as its environment', async () => {
  copyFileSync(example, join(node.dir, 'bootstrap'))
  void start(undefined)
  const answer = JSON.parse((await node.invoke({ a: 1 })).body.toString()) as Record<string, unknown>
  expect(answer['echo']).toEqual({ a: 1 })
  await stop()
  await node.close()
  node = await startFakeNode()
  const { output } = await start('#!/bin/sh\nenv; pwd; exit 3\n', 0o755, { MINE: 'a b' })
  expect(output).toContain('MINE=a b\n')
  expect(output).toContain(`AWS_LAMBDA_RUNTIME_API=127.0.0.1:${port}\n`)
  expect(output).toContain('HOME=/tmp\n')
  expect(output).toContain(`\n${node.dir}\n`)
  expect(output).not.toMatch(/ONLY_BEFORE|FORKYARD_API/)
})

test.each([
  ['is missing', undefined, 0o755, 'Runtime.InvalidEntrypoint', "Couldn't find valid bootstrap"],
  ['is not executable', '#!/bin/sh\n', 0o644, 'Runtime.InvalidEntrypoint', 'Permission denied'],
  ['has no interpreter', '#!/nowhere\n', 0o755, 'Runtime.InvalidEntrypoint', 'No such file'],
  ['is no program', 'text', 0o755, 'Runtime.InvalidEntrypoint', 'Exec format error'],
  ['fails at once', '#!/bin/sh\nexit 5\n', 0o755, 'Runtime.ExitError', 'exit status 5'],
  ['ends at once', '#!/bin/sh\n', 0o755, 'Runtime.ExitError', 'without providing a reason'],
  ['dies at once', '#!/bin/sh\nkill -9 $$\n', 0o755, 'Runtime.ExitError', 'signal: Killed'],
])('a bootstrap that %s is an init error', async (_what, bootstrap, mode, errorType, message) => {
  void start(bootstrap, mode)
  expect(await node.initError).toMatchObject({ errorType, errorMessage: expect.stringContaining(message) as string })
})

test('it ends with the status of the bootstrap, and reports nothing when that has pulled', async () => {
  const pull = `exec 3<>/dev/tcp/127.0.0.1/${port}; printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; head -1 <&3; exit 9`
  const exited = start(`#!/bin/bash\n${pull}\n`)
  void node.invoke({})
  const { code, output } = await exited
  expect(code).toBe(9)
  expect(output).toContain('HTTP/1.1 200 OK')
  expect(await Promise.race([node.initError, delay(50, 'nothing')])).toBe('nothing')
})

test('several keep-alive connections carry payloads of 6 MB in both directions, by length and in chunks', async () => {
  void start(idle)
  await untilOpen()
  const payload = randomBytes(6 * 1024 * 1024)
  const rounds = Array.from({ length: 8 }, async (_, index) => {
    const answered = node.invoke(payload)
    const { headers, body } = await call('GET', 'invocation/next')
    expect(body.equals(payload)).toBe(true)
    const id = String(headers['lambda-runtime-aws-request-id'])
    const sent = index % 2 === 0 ? payload : Readable.from([payload.subarray(0, 100_000), payload.subarray(100_000)])
    expect((await call('POST', `invocation/${id}/response`, sent)).status).toBe(202)
    return (await answered).body
  })
  for (const body of await Promise.all(rounds)) expect(body.equals(payload)).toBe(true)
})

test('a slow reader slows the writer down instead of filling memory', async () => {
  void start(idle)
  await untilOpen()
  const total = 64 * 1024 * 1024
  let sent = 0
  const source = new Readable({
    read() {
      sent += 65536
      this.push(sent > total ? null : Buffer.alloc(65536))
    },
  })
  let seenWhilePaused = 0
  const onAnswer = async (): Promise<void> => {
    await delay(200)
    seenWhilePaused = sent
  }
  const answered = node.invoke({}, { onAnswer })
  const { headers } = await call('GET', 'invocation/next')
  const id = String(headers['lambda-runtime-aws-request-id'])
  expect((await call('POST', `invocation/${id}/response`, source)).status).toBe(202)
  expect((await answered).body.length).toBe(total)
  expect(seenWhilePaused).toBeLessThan(16 * 1024 * 1024)
})

test('a half-closed connection still gets its reply', async () => {
  void start(idle)
  await untilOpen()
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  socket.end('GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 404 /)
})
