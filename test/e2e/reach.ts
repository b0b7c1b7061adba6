/** Functions that run the reach probe, and the same probe as a program of the host or of a namespace. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { NetworkPolicy } from '../../services/contracts/network.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type Connection } from '../support/lambda.ts'
import { putPolicy } from '../support/network-probe.ts'
import type { TrafficTarget } from '../support/traffic-target.ts'

const probeFile = join(import.meta.dirname, '../support/reach_probe.py')

/** On which functions answer. */
export const servedPort = 9000

export type Family = 4 | 6
export type Addresses = Readonly<Record<Family, string>>

/** Of a flow that went on and on. */
export interface LastAnswer {
  /** Epoch milliseconds. */
  readonly at: number
  /** The error that ended it before its time. */
  readonly ended: string
}

export interface Probed {
  readonly outcomes: readonly string[]
  readonly lastAnswers: readonly LastAnswer[]
  readonly addresses: readonly string[]
  readonly waits?: readonly string[]
  readonly counts?: readonly number[]
}

export interface Member extends Connection {
  readonly name: string
  readonly addresses: Addresses
}

/** Its instance, and with it its addresses, stays for as long as a test takes. */
const Tags = { 'forkyard:keep-alive-ms': '600000' }

export const probeFunction = async (connection: Connection, prefix: string): Promise<string> => {
  const name = uniqueName(prefix)
  const code = { 'index.py': readFileSync(probeFile) }
  await createFunction(lambdaClient(connection), name, code, { Runtime: 'python3.11', MemorySize: 512, Tags })
  return name
}

export const askProbe = async (connection: Connection, name: string, event: object): Promise<Probed> => {
  const { json, text } = await invoke(lambdaClient(connection), name, { serve: servedPort, ms: 0, ...event })
  expect(json, text).toHaveProperty('outcomes')
  return json as Probed
}

/** A function with this policy, of whose one instance the addresses are known. */
export const createMember = async (
  connection: Connection,
  prefix: string,
  policy: NetworkPolicy,
  { address4, address6 }: Pick<TrafficTarget, 'address4' | 'address6'>,
): Promise<Member> => {
  const name = await probeFunction(connection, prefix)
  await putPolicy(connection, name, policy)
  const { addresses } = await askProbe(connection, name, { towards: [address4, address6] })
  expect(addresses).toHaveLength(2)
  return { ...connection, name, addresses: { 4: addresses[0] ?? '', 6: addresses[1] ?? '' } }
}

const commandIn = (netns: string | undefined): [string, string[]] =>
  netns ? ['ip', ['netns', 'exec', netns, 'python3', probeFile]] : ['python3', [probeFile]]

/** As a program: on this host, or in a namespace. `signal` ends it, and rejects. */
export const probeFrom = (netns: string | undefined, event: object, signal?: AbortSignal): Promise<Probed> =>
  new Promise((resolve, reject) => {
    const child = execFile(...commandIn(netns), { timeout: 60_000, ...(signal ? { signal } : {}) }, (error, stdout) => {
      if (error) reject(error)
      else resolve(JSON.parse(stdout) as Probed)
    })
    child.stdin?.end(JSON.stringify({ ms: 0, ...event }))
  })

/** Answers on these addresses until it is killed, which is the caller's to do. */
export const serveOn = (netns: string | undefined, on: readonly string[], port: number): ChildProcess => {
  const server = spawn(...commandIn(netns), { stdio: ['pipe', 'ignore', 'inherit'] })
  server.stdin?.end(JSON.stringify({ serve: port, on, stayMs: 3_600_000 }))
  return server
}
