/** NATS as a cluster on three hosts, schedulers on two: one of each may go. The tests are one story, in order. */
import { writeSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import { createFunction, invoke, lambdaClient } from '../support/lambda.ts'
import { createLab, type Lab } from './lab/lab.ts'
import type { LabHost } from './lab/lab-host.ts'
import { LabStack } from './lab/lab-stack.ts'
import { left, nodesOf, runNode, streamsOf, traces, unit } from './lab/remote.ts'
import { startAgentWith } from './lab/ssh-agent.ts'

const say = (line: string): void => void writeSync(2, `cluster: ${line}\n`)

let lab: Lab
let stack: LabStack
let control: LabHost
let others: LabHost[]
let endAgent: (() => void) | undefined
let bare: Record<string, string>

const client = () => lambdaClient(stack.connection)
const source = (word: string) => `export const handler = async () => ({ word: '${word}' })`
const expectWord = async (name: string): Promise<void> =>
  expect((await invoke(client(), name)).json).toEqual({ word: name })

beforeAll(async () => {
  await prepareMachine()
  lab = await createLab(['c1', 'c2', 'c3'], 3072)
  const [first, ...rest] = lab.hosts
  if (!first) throw new Error('the lab is empty')
  control = first
  others = rest
  bare = await traces(control)
  endAgent = await startAgentWith(lab)
  stack = new LabStack(lab, `c${lab.dir.slice(-4)}`, say)
  stack.configure({
    runtimes: ['nodejs24.x'],
    hosts: [
      stack.hostConfig(control, { roles: ['gateway', 'scheduler', 'nats'] }),
      ...others.map((host, at) =>
        stack.hostConfig(host, { roles: ['nats', 'node', ...(at === 0 ? ['scheduler' as const] : [])] }),
      ),
    ],
  })
}, 600_000)

afterAll(async () => {
  endAgent?.()
  stack?.forget()
  await lab?.remove()
}, 120_000)

/** What a server of NATS says first to a peer with these options of TLS. */
const greeting = (options: string) =>
  runNode(
    control,
    stack,
    `
const { readFileSync } = require('fs')
const pem = (name) => readFileSync('${stack.stateDir}/services/nats/' + name + '.pem')
const end = (text) => { console.log(text); process.exit() }
const socket = require('tls').connect({ host: '${control.address}', port: 9004, rejectUnauthorized: false, ...${options} })
socket.on('data', (text) => end(String(text).slice(0, 4)))
socket.on('error', () => end('refused'))
socket.on('close', () => end('closed'))`,
  )

describe('on three hosts, with the key in an agent', () => {
  it('up makes an installation that keeps everything three times', async () => {
    await stack.up()
    await createFunction(client(), 'before', source('before'))
    await expectWord('before')
    const streams = await streamsOf(control, stack)
    expect(streams.length).toBeGreaterThan(4)
    expect(streams.filter(({ config, cluster }) => config.num_replicas !== 3 || cluster.replicas.length !== 2)).toEqual(
      [],
    )
  })

  it('a second up changes nothing', async () => {
    expect(Object.keys((await stack.up()).changes)).toEqual(['unchanged'])
  })

  it('a server of NATS takes a route from whoever has a certificate of the installation, and from nobody else', async () => {
    expect(await greeting(`{ cert: pem('cert'), key: pem('key') }`)).toBe('INFO\n')
    expect(await greeting('{}')).toMatch(/^(refused|closed)\n$/)
  })
})

describe('without one of the schedulers', () => {
  it.each([0, 1])('(%i) functions are started all the same', async (at) => {
    const host = [control, ...others][at]
    if (!host) throw new Error('the lab is not whole')
    await host.ssh(`systemctl kill -s KILL ${unit(stack, 'scheduler')}; systemctl stop ${unit(stack, 'scheduler')}`)
    expect((await invoke(client(), 'before', {}, { start: 'boot' })).json).toEqual({ word: 'before' })
    await host.ssh(`systemctl start ${unit(stack, 'scheduler')}`)
  })
})

describe('without one of the hosts', () => {
  it('functions are deployed, invoked and kept', async () => {
    const [, third] = others
    if (!third) throw new Error('the lab is not whole')
    await third.cutPower()
    await vi.waitFor(async () => expect(await nodesOf(control, stack)).toHaveLength(1), { timeout: 60_000 })
    await vi.waitFor(() => expectWord('before'), { timeout: 60_000, interval: 500 })
    // The two that are left agree on who leads; until then a deployment fails.
    const lost = `forkyard-${third.name}`
    await vi.waitFor(
      async () => {
        const leaders = (await streamsOf(control, stack)).map(({ cluster }) => cluster.leader)
        expect(leaders.filter((leader) => !leader || leader === lost)).toEqual([])
      },
      { timeout: 60_000, interval: 500 },
    )
    await createFunction(client(), 'meanwhile', source('meanwhile'))
    await expectWord('meanwhile')
    await third.start()
    await vi.waitFor(async () => expect(await nodesOf(control, stack)).toHaveLength(2), {
      timeout: 120_000,
      interval: 500,
    })
    await vi.waitFor(
      async () => {
        const lagging = (await streamsOf(control, stack)).filter(({ cluster }) =>
          cluster.replicas.some(({ current }) => !current),
        )
        expect(lagging).toEqual([])
      },
      { timeout: 120_000, interval: 1000 },
    )
    expect(Object.keys((await stack.up()).changes)).toEqual(['unchanged'])
  })
})

describe('destroy', () => {
  it('leaves every host as it was found', async () => {
    await stack.down()
    for (const host of [control, ...others]) {
      expect(await left(host, stack)).toEqual([])
      expect(await traces(host)).toEqual(bare)
    }
  })
})
