/**
 * What any target has in common, on the fastest of them: upgrades, updates that are killed, updates at the same time, destroy. The tests are one
 * story, in order.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { LambdaClient } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findDrift, mendDrift } from '../../scripts/drift.ts'
import { engineEnv, enginePath, openStack } from '../../scripts/engine.ts'
import { freePorts } from '../../scripts/free-ports.ts'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import { repoRoot } from '../../scripts/setup/paths.ts'
import { leaveVariable } from '../../stacks/components/release.ts'
import { processesOf } from '../../stacks/host-scripts/processes.ts'
import { createFunction, invoke, lambdaClient } from '../support/lambda.ts'
import { claimDir, claimInstallation, removeClaimedDir } from './lab/claimed-dir.ts'
import { LabStack } from './lab/lab-stack.ts'
import { underLoad } from './lab/load.ts'
import { later, nextVersion, version } from './lab/next-version.ts'
import type { TreeCopy } from './lab/tree-copy.ts'

const say = (line: string): void => void writeSync(2, `local: ${line}\n`)

const dir = claimDir(`l${process.pid}`)
const stack = new LabStack({ dir, privateKey: '' }, `l${process.pid}`, say, 'local')
claimInstallation(dir, stack)
let client: LambdaClient
let newer: TreeCopy

const echo = 'export const handler = async (event) => ({ got: event.word })'
const expectAnswer = async (): Promise<void> =>
  expect((await invoke(client, 'echo', { word: 'here' })).json).toEqual({ got: 'here' })
const kinds = async (): Promise<string[]> => Object.keys((await stack.up()).changes)

const servicePids = (): number[] =>
  processesOf(stack).flatMap(({ info, role }) => (role === 'service' ? [info.pid] : []))
const pidOfNats = (): number | undefined =>
  processesOf(stack, 'nats').find(({ info }) => info.argv[0]?.endsWith('nats-server'))?.info.pid

beforeAll(async () => {
  await prepareMachine()
  const [gatewayPort, schedulerPort, nodeAgentPort, natsPort, callPort] = await freePorts(5)
  const runtimes = ['nodejs24.x', 'python3.11']
  stack.configure({ gatewayPort, schedulerPort, nodeAgentPort, natsPort, callPort, runtimes, nodeMemoryMiB: 1024 })
  newer = await nextVersion(join(dir, 'newer'), 'python3.11')
}, 600_000)

afterAll(async () => {
  stack.useTree(repoRoot)
  await stack.down()
  await removeClaimedDir(dir)
}, 120_000)

describe('a first update that is killed again and again', () => {
  // Each waits for the one before it.
  it.each(['directories', 'nats-process', 'scheduler-process', 'gateway-process', 'client-file'])(
    '(%s) leaves what the next one goes on from',
    async (resource) => {
      await stack.upKilledAt(new RegExp(`${resource}\\s+creating`))
    },
  )

  it('is finished by the next up, with everything there once', async () => {
    await stack.up()
    client = lambdaClient(stack.connection)
    await createFunction(client, 'echo', echo)
    await expectAnswer()
    expect(await kinds()).toEqual(['unchanged'])
    const gateways = processesOf(stack, 'gateway').filter(({ info }) => info.argv.includes('--config'))
    expect(gateways).toHaveLength(1)
  })
})

describe('an update of everything that is killed', () => {
  it.each([
    ['scheduler-process', 'debug'],
    ['node-agent-process', 'warn'],
    ['gateway-process', 'error'],
  ])('(%s) is finished by the next up', async (resource, logLevel) => {
    stack.configure({ logLevel })
    await stack.upKilledAt(new RegExp(`${resource}\\s+updating`))
    await stack.up()
    await expectAnswer()
  })

  it('and nothing is left to do', async () => {
    expect(await kinds()).toEqual(['unchanged'])
  })
})

describe('what somebody changes by hand', () => {
  it('is found, and made again', async () => {
    const state = await stack.exported()
    expect(await findDrift(state)).toEqual([])
    const config = join(stack.stateDir, 'services', 'scheduler', 'config.json')
    const before = readFileSync(config, 'utf8')
    appendFileSync(config, ' ')
    rmSync(join(stack.stateDir, 'client.json'))
    const found = await findDrift(state)
    expect(new Set(found.flatMap(({ name, differences }) => differences.map((line) => `${name}: ${line}`)))).toEqual(
      new Set([
        `scheduler-process: ${config} is another file`,
        `client-file: ${join(stack.stateDir, 'client.json')} is not there`,
      ]),
    )
    // The engine's own way does not see it.
    expect(await kinds()).toEqual(['unchanged'])
    expect(await mendDrift(state, found)).toEqual([])
    expect(readFileSync(config, 'utf8')).toBe(before)
    await expectAnswer()
  })
})

describe('while an update runs', () => {
  it('another one is refused and told by whom, and the first one comes to its end', async () => {
    stack.configure({ logLevel: 'info' })
    await openStack(stack.place)
    const args = [...stack.stackArgs, '--non-interactive', '--color', 'never']
    // Of somebody else: what our own killed run left would be ended.
    const env = { ...engineEnv(stack.place), FORKYARD_INSTALLATION: '' }
    const options = { cwd: repoRoot, env, stdio: ['ignore', 'pipe', 'pipe'] } as const
    const first = spawn(enginePath(), ['up', '--yes', '--skip-preview', ...args], {
      ...options,
      stdio: [...options.stdio],
    })
    const ended = once(first, 'exit')
    await new Promise<void>((resolve) => {
      first.stdout?.on('data', (text: Buffer) => {
        if (/-process\s+updating/.test(text.toString())) resolve()
      })
    })
    const second = spawn(enginePath(), ['up', '--yes', '--skip-preview', ...args], {
      ...options,
      stdio: [...options.stdio],
    })
    let told = ''
    second.stdout?.on('data', (text: Buffer) => (told += text.toString()))
    second.stderr?.on('data', (text: Buffer) => (told += text.toString()))
    const [refusal, byScript] = await Promise.all([
      once(second, 'exit'),
      stack.up().catch((error: Error) => error.message),
    ])
    expect(refusal[0]).not.toBe(0)
    expect(told).toMatch(/currently locked by 1 lock\(s\)/)
    expect(told).toContain(`pid ${first.pid}`)
    expect(byScript).toContain(`stack ${stack.place.stack} is in use by process ${first.pid}`)
    expect((await ended)[0]).toBe(0)
    expect(await kinds()).toEqual(['unchanged'])
  })
})

/** With one gateway there is a moment without any. */
const loaded = (action: () => Promise<unknown>) =>
  underLoad({ connection: stack.connection, name: 'echo', say }, action)

describe('the next version', () => {
  it('is brought up under load without a failed request; what lasts stays, and only what changed is made anew', async () => {
    const before = stack.outputs
    const nats = pidOfNats()
    expect([before.version, typeof nats]).toEqual([version, 'number'])
    stack.useTree(newer.dir)
    const { calls, failed } = await loaded(() => stack.up())
    expect(failed).toEqual([])
    expect(calls).toBeGreaterThan(10)
    const after = stack.outputs
    expect(after.version).toBe(later(1))
    expect(pidOfNats()).toBe(nats)
    expect(after.images['nodejs24.x']).toEqual(before.images['nodejs24.x'])
    expect(after.images['python3.11']?.checkpointKey).not.toBe(before.images['python3.11']?.checkpointKey)
    await expectAnswer()
    expect(await kinds()).toEqual(['unchanged'])
  })

  it('that is killed midway is finished, and nothing further than its neighbour comes between', async () => {
    newer.change('package.json', `"version": "${later(1)}"`, `"version": "${later(2)}"`)
    stack.configure({ logLevel: 'debug' })
    await stack.upKilledAt(/scheduler-process\s+updating/)
    newer.change('package.json', `"version": "${later(2)}"`, `"version": "${later(3)}"`)
    await expect(stack.up()).rejects.toThrow(`the update from ${later(1)} to ${later(2)} was not finished`)
    newer.change('package.json', `"version": "${later(3)}"`, `"version": "${later(1)}"`)
    await stack.up()
    expect(stack.outputs.version).toBe(later(1))
  })

  it('but one is refused before anything is changed, also in a preview', async () => {
    newer.change('package.json', `"version": "${later(1)}"`, `"version": "${later(3)}"`)
    const before = servicePids()
    const refusal = `the installation is ${later(1)} and this is ${later(3)}: more than one minor version at a time is refused`
    await expect(stack.up()).rejects.toThrow(refusal)
    await expect(stack.preview()).rejects.toThrow(refusal)
    expect(servicePids()).toEqual(before)
    expect(stack.outputs.version).toBe(later(1))
    await expectAnswer()
    vi.stubEnv(leaveVariable, later(1))
    expect(await stack.preview()).toMatch(/Resource release\s+update/)
    vi.unstubAllEnvs()
  })

  it('is taken back by the up of the old commit, under load as well', async () => {
    stack.useTree(repoRoot)
    const { failed } = await loaded(() => stack.up())
    expect(failed).toEqual([])
    expect(stack.outputs.version).toBe(version)
    await expectAnswer()
    expect(await kinds()).toEqual(['unchanged'])
  })
})

describe('destroy', () => {
  it('takes nothing while data is protected, and with plain Pulumi no data', async () => {
    stack.configure({ protectData: true })
    try {
      await stack.up()
      const before = servicePids()
      await expect(stack.down()).rejects.toThrow(/protects .*nats.*: nothing is taken away/)
      expect(servicePids()).toEqual(before)
      const nats = pidOfNats()
      await expect(stack.destroyWithEngine()).rejects.toThrow(/protected/)
      expect(servicePids()).not.toEqual(before)
      expect(pidOfNats()).toBe(nats)
    } finally {
      stack.configure({ protectData: false })
      await stack.up()
    }
    await expectAnswer()
  })

  it('leaves no process and no file', async () => {
    await stack.down()
    expect(processesOf(stack)).toEqual([])
    expect(stack.exists).toBe(false)
  })
})
