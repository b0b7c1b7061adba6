/** A function that tries to get out, as its own user and as root of a namespace of its own: nothing of the host is seen or touched. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName } from '../../support/lambda.ts'
import { installation } from '../installation.ts'
import { createPeer } from '../peer.ts'
import { setOut, type Canaries } from './canaries.ts'

const target = installation()
const client = lambdaClient(target)
const file = join(import.meta.dirname, 'probe.py')

interface Outcome {
  readonly refused?: string
  readonly allowed?: string
  readonly seen?: readonly string[]
  /** What went before the attempt was refused. */
  readonly unprepared?: string
}
type Report = Readonly<Record<string, Readonly<Record<string, Outcome>>>>

let canaries: Canaries
beforeEach(async () => void (canaries = await setOut(target)))
afterEach(() => canaries.remove())

const probe = async (event: object, start: 'boot' | 'restore' | 'fork') => {
  const name = uniqueName('probe')
  await createFunction(
    client,
    name,
    { 'index.py': readFileSync(file) },
    { Runtime: 'python3.11', MemorySize: 512, Timeout: 60 },
  )
  const { json, text } = await invoke(client, name, { ...canaries.event, ...event }, { start })
  expect(json, text).toMatchObject({ report: expect.any(Object) as object })
  return json as { uid: number; report: Report }
}

const each = (report: Report) =>
  Object.entries(report).flatMap(([family, tried]) =>
    Object.entries(tried).map(([name, outcome]) => ({ name: `${family}: ${name}`, outcome })),
  )

/** Which kinds of canary somebody saw, by attempt. */
const seenIn = (report: Report): string[] =>
  each(report).flatMap(({ name, outcome }) => (outcome.seen?.length ? [name] : []))
const allowedIn = (report: Report): string[] =>
  each(report).flatMap(({ name, outcome }) => (outcome.allowed === undefined ? [] : [name]))

/**
 * What a root of its own may do: with file systems and processes of the sandbox's kernel, which it shares with nobody. What it finds
 * there is its own (`seenIn`), and none of it is the host's kernel.
 */
const ownKernel = new Set([
  'kernel: log',
  'mount: proc',
  'first process: environ',
  'first process: ptrace',
  'identity: setuid',
  'raw socket: icmp',
])

/** The processes of the sandbox are the function's own, and so is its kernel's log. */
const ownProcesses = new Set(['first process: environ', 'first process: ptrace', 'kernel: log'])

describe.each(['boot', 'restore', 'fork'] as const)('a function that was started by %s', (start) => {
  it('as its own user is refused everything, and finds nothing', async () => {
    const peer = await createPeer(client)
    const { uid, report } = await peer.during(() => probe({}, start))
    expect(uid).toBe(993)
    expect(seenIn(report)).toEqual([])
    expect(allowedIn(report).filter((name) => !ownProcesses.has(name))).toEqual([])
    expect(report['kernel']?.['log']?.allowed).toMatch(/gVisor/)
    expect(canaries.harm()).toEqual([])
  })

  it('as root of a namespace of its own finds nothing either', async () => {
    const { report } = await probe({ root: true }, start)
    expect(each(report).filter(({ outcome }) => outcome.unprepared !== undefined)).toEqual([])
    expect(seenIn(report)).toEqual([])
    expect(allowedIn(report).filter((name) => !ownKernel.has(name))).toEqual([])
    expect(canaries.harm()).toEqual([])
  })
})

const onHost = (): Promise<Report> =>
  new Promise((resolve, reject) => {
    const event = { ...canaries.event, host: true, pid: process.pid, writable: canaries.event['paths'] }
    const child = execFile('python3', [file], { timeout: 60_000 }, (error, stdout) => {
      if (error) reject(error)
      else resolve((JSON.parse(stdout) as { report: Report }).report)
    })
    child.stdin?.end(JSON.stringify(event))
  })

describe('negative control: the same attempts on the host', () => {
  it('succeed in every family, see every canary, and leave harm', async () => {
    const report = await onHost()
    for (const [family, tried] of Object.entries(report))
      expect(
        Object.values(tried).some(({ allowed }) => allowed !== undefined),
        `${family}: ${JSON.stringify(tried)}`,
      ).toBe(true)
    expect(seenIn(report)).toEqual(
      expect.arrayContaining([
        'mount: root',
        'mount: chroot',
        'first process: root',
        'first process: environ',
        'handle: host file',
        'host socket: abstract',
        'host socket: tcp',
        'host socket: path',
      ]),
    )
    const seen = new Set(each(report).flatMap(({ outcome }) => outcome.seen ?? []))
    expect([...seen].toSorted()).toEqual([...canaries.words].toSorted())
    expect(canaries.harm()).toEqual(
      expect.arrayContaining(['connections to the host', expect.stringContaining('canary')]),
    )
  })
})
