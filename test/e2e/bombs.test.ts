/** Functions that take all they can get: an error of their own that names the limit, nothing for the others to notice, nothing left. */
import type { CreateFunctionCommandInput } from '@aws-sdk/client-lambda'
import { aroundAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createFunction,
  invoke,
  lambdaClient,
  uniqueName,
  type Files,
  type Invoked,
  type InvokeOptions,
} from '../support/lambda.ts'
import { metricOf, onEmptyNode } from './host.ts'
import { installation } from './installation.ts'
import { agentMemoryMiB, backTo, settledState } from './machine-state.ts'
import { createPeer, type Peer } from './peer.ts'

const target = installation()
const client = lambdaClient(target)
const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }

// A node that learns to keep one sandbox more ahead, as bombs are restored, would look like one that leaves it behind.
aroundAll((runTests) => onEmptyNode(target, runTests))

let peer: Peer
beforeAll(async () => void (peer = await createPeer(client)))

const explode = async (
  code: Files | string,
  input: Partial<CreateFunctionCommandInput> = {},
  options: InvokeOptions = {},
): Promise<Invoked> => {
  const name = uniqueName('bomb')
  await createFunction(client, name, code, { Timeout: 60, Tags: once, ...input })
  const before = await settledState(target)
  const answer = await peer.during(() => invoke(client, name, {}, { start: 'restore', ...options }))
  await backTo(target, before)
  return answer
}

const python = (source: string): Files => ({ 'index.py': source })
const inPython = { Runtime: 'python3.11' } as const
const outOfMemory = (memoryMiB: number) => ({
  functionError: 'Unhandled',
  json: {
    errorType: 'Runtime.OutOfMemory',
    errorMessage: expect.stringMatching(new RegExp(`memory of ${memoryMiB} MB.*kernel kills [1-9]`)) as string,
  },
})

describe('a bomb of processes', () => {
  it('that forks as fast as it can is refused more inside, or runs out of its own memory', async () => {
    // Small: each process of a sandbox has its share of kernel memory.
    const small = await explode(
      python(`import os, time
def handler(event, context):
    while True:
        if os.fork() == 0:
            time.sleep(1000)
`),
      { ...inPython, MemorySize: 128 },
    )
    expect(small).toMatchObject(outOfMemory(128))
  })

  it('gets EAGAIN at 1,024 processes, as on Lambda, where the function has memory for as many', async () => {
    const { json, text } = await explode(
      python(`import os
def handler(event, context):
    count = 0
    try:
        while True:
            os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
            count += 1
    except BlockingIOError as error:
        return [count, error.strerror]
`),
      { ...inPython, MemorySize: 3008 },
    )
    const [processes, problem] = json as [number, string]
    expect(problem, text).toBe('Resource temporarily unavailable')
    expect(processes).toBeGreaterThan(900)
    expect(processes).toBeLessThan(1024)
  })

  it('of threads gets its language’s own error at 1,024', async () => {
    const { json, text } = await explode(
      python(`import threading, time
def handler(event, context):
    count = 0
    try:
        while True:
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            count += 1
    except RuntimeError as error:
        return [count, str(error)]
`),
      { ...inPython, MemorySize: 512 },
    )
    const [threads, problem] = json as [number, string]
    expect(problem, text).toContain("can't start new thread")
    expect(threads).toBeGreaterThan(900)
    expect(threads).toBeLessThan(1024)
  })
})

describe('a bomb of memory', () => {
  it.each([
    [
      'in the handler',
      `export const handler = async () => { const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1)) }`,
    ],
    [
      // The kernel kills what has most, and that is not what the function waits in.
      'in one child',
      `import { spawn } from 'node:child_process'
export const handler = async () => {
  spawn('/bin/sh', ['-c', 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'], { stdio: 'ignore' })
  await new Promise(() => setInterval(() => {}, 1000))
}`,
    ],
    [
      'in its children',
      `import { spawn } from 'node:child_process'
export const handler = async () => {
  for (let i = 0; i < 4; i++) spawn('/bin/sh', ['-c', 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'], { stdio: 'ignore' })
  await new Promise(() => setInterval(() => {}, 1000))
}`,
    ],
  ])('%s ends with the control group’s evidence', async (_where, source) => {
    expect(await explode(source, { MemorySize: 128 })).toMatchObject(outOfMemory(128))
  })
})

const fill = `import fs from 'node:fs'
export const handler = async () => {
  const file = fs.openSync('/tmp/fill', 'w')
  let mib = 0
  try { for (;;) mib += fs.writeSync(file, Buffer.alloc(1 << 20, 1)) / (1 << 20) } catch (error) { return [Math.round(mib), error.code] }
}`

describe('a bomb of files', () => {
  it('gets ENOSPC at the size of /tmp', async () => {
    expect((await explode(fill, { MemorySize: 1024 })).json).toEqual([512, 'ENOSPC'])
  })

  it('larger than the function’s memory, of which /tmp is part, ends with that', async () => {
    expect(await explode(fill, { MemorySize: 128 })).toMatchObject(outOfMemory(128))
  })

  it('of open descriptors gets EMFILE at 1,024', async () => {
    const { json } = await explode(`import fs from 'node:fs'
export const handler = async () => {
  const all = []
  try { for (;;) all.push(fs.openSync('/dev/null')) } catch (error) {
    for (const fd of all) fs.closeSync(fd)
    return [all.length, error.code]
  }
}`)
    const [count, code] = json as [number, string]
    expect(code).toBe('EMFILE')
    expect(count).toBeGreaterThan(900)
    expect(count).toBeLessThan(1024)
  })
})

describe('a bomb of output', () => {
  it.each([
    ['in lines', `Buffer.alloc(1 << 20, 'x'.repeat(1023) + '\\n')`],
    ['in one line', `Buffer.alloc(1 << 20, 'x')`],
  ])('of 1 GB %s is cut, counted, and fills nobody’s memory', async (_how, buffer) => {
    const [dropped, memory] = [await droppedBytes(), agentMemoryMiB(target)]
    const { json, logTail, text } = await explode(
      `import fs from 'node:fs'
export const handler = async () => {
  const bytes = ${buffer}
  let written = 0
  while (written < 2 ** 30) {
    try { written += fs.writeSync(1, bytes) } catch (error) { if (error.code !== 'EAGAIN') throw error }
  }
  return written
}`,
      { MemorySize: 512, Timeout: 120 },
      { LogType: 'Tail' },
    )
    expect(json, text).toBeGreaterThanOrEqual(2 ** 30)
    expect(Buffer.byteLength(logTail ?? '')).toBeLessThanOrEqual(4096)
    // What was let through is at most a second's allowance for each second that it took.
    expect((await droppedBytes()) - dropped).toBeGreaterThan(900 * 1024 * 1024)
    expect(agentMemoryMiB(target) - memory).toBeLessThan(256)
  })
})

const droppedBytes = (): Promise<number> => metricOf(target, 'node-agent', 'forkyard_node_log_bytes_dropped_total')
