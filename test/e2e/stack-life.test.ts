/** A stack of its own, from `up` to nothing left, through every accident on the way. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { engineEnv, enginePath, runEngine } from '../../scripts/engine.ts'
import { sayHello } from '../../scripts/hello.ts'
import { configFile, stateFile } from '../../scripts/place.ts'
import { createScratchStack, removeAbandonedStacks, type ScratchStack } from '../../scripts/scratch-stack.ts'
import { repoRoot } from '../../scripts/setup/paths.ts'
import { bringUp, takeDown } from '../../scripts/stack.ts'
import { addressPlan } from '../../services/node-agent/network/addresses.ts'
import { tableName } from '../../services/node-agent/network/forwarding.ts'
import { fileDigest } from '../../services/node-agent/file-digests.ts'
import { cgroupDirs, cgroupParent, mountsBelow } from '../../stacks/host-scripts/leftovers.ts'
import { processesOf } from '../../stacks/host-scripts/processes.ts'
import { forgeManifest } from './forged-manifest.ts'
import { configOf } from './host.ts'

const silent = () => undefined
let stack: ScratchStack
let created: ScratchStack | undefined

const stackArgs = () => ['--stack', stack.place.stack, '--config-file', configFile(stack.place)]
const pidsOf = (role: string) =>
  processesOf(stack.premises).flatMap((found) => (found.role === role ? [found.info.pid] : []))
const programLines = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: 'utf8' }).split('\n')
const left = () => ({
  network: [
    ...programLines('ip', '-o', 'link').filter((line) =>
      line.includes(` ${addressPlan(cgroupParent(stack.premises.installation)).prefix}`),
    ),
    ...programLines('nft', 'list', 'tables').filter((line) =>
      line.endsWith(` ${tableName(cgroupParent(stack.premises.installation))}`),
    ),
  ],
  processes: processesOf(stack.premises).map(({ info }) => info.argv.join(' ')),
  groups: cgroupDirs(stack.premises.installation),
  mounts: mountsBelow([stack.premises.stateDir, stack.premises.runDir]),
  files: [stack.premises.stateDir, stack.premises.runDir, stack.place.engineDir].filter((dir) => existsSync(dir)),
})
const nothing = { network: [], processes: [], groups: [], mounts: [], files: [] }

beforeAll(async () => {
  stack = created = await createScratchStack(silent)
})
afterAll(() => created?.remove())

describe('a stack that is up', () => {
  it('is seen on the machine by what is looked for when it is gone', () => {
    expect(left().network).toHaveLength(2)
  })

  it('is not changed by another up', async () => {
    const pids = new Set(pidsOf('service'))
    const { changes } = await bringUp(stack.place, silent)
    expect(Object.keys(changes)).toEqual(['unchanged'])
    expect(new Set(pidsOf('service'))).toEqual(pids)
  })

  it('is not touched by a preview, which would change a service', async () => {
    const before = [statSync(stateFile(stack.place)).mtimeMs, ...pidsOf('service')]
    const output = await runEngine(stack.place, ['preview', ...stackArgs(), '--config', 'forkyard:logLevel=debug'])
    expect(output).toMatch(/gateway-process\s+update/)
    expect([statSync(stateFile(stack.place)).mtimeMs, ...pidsOf('service')]).toEqual(before)
  })

  it('makes a checkpoint anew that somebody changed, manifest and all, and its node takes the new one', async () => {
    const { runtimes } = configOf(stack.premises, 'node-agent')
    const { checkpointPath = '', checkpointDigest } = runtimes['nodejs24.x'] ?? {}
    truncateSync(join(checkpointPath, 'pages.img'), 4096)
    expect(await forgeManifest(checkpointPath)).not.toBe(checkpointDigest)
    const { changes } = await bringUp(stack.place, silent)
    expect(changes).toMatchObject({ replaced: 1 })
    const made = configOf(stack.premises, 'node-agent').runtimes['nodejs24.x']
    expect(made?.checkpointDigest).not.toBe(checkpointDigest)
    expect(await fileDigest(join(checkpointPath, 'manifest.json'))).toBe(made?.checkpointDigest)
    expect(Object.keys((await bringUp(stack.place, silent)).changes)).toEqual(['unchanged'])
  })

  it('runs a function', async () => {
    expect((await sayHello(stack.premises.stateDir)).answer).toContain('Hello, Forkyard!')
  })

  it('keeps its client file to its owner', () => {
    expect(statSync(join(stack.premises.stateDir, 'client.json')).mode & 0o777).toBe(0o600)
  })

  it('is whole again after everything was killed, supervisors and all', async () => {
    for (const role of ['supervisor', 'service', 'log', 'sandbox'])
      for (const pid of pidsOf(role)) process.kill(pid, 'SIGKILL')
    await vi.waitFor(() => expect(pidsOf('supervisor')).toEqual([]))
    const { changes } = await bringUp(stack.place, silent)
    expect(Object.keys(changes)).toEqual(['unchanged'])
    expect((await sayHello(stack.premises.stateDir)).answer).toContain('Hello, Forkyard!')
  })
})

/** An engine that changes every service, killed while it does. */
const killEngineMidway = async (): Promise<void> => {
  const args = ['up', '--yes', '--skip-preview', '--config', 'forkyard:logLevel=debug', ...stackArgs()]
  const engine = spawn(enginePath(), args, {
    cwd: repoRoot,
    env: engineEnv(stack.place),
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  engine.stdout.on('data', (text: Buffer) => {
    if (/nats-process updating|gateway-process updating/.test(text.toString())) engine.kill('SIGKILL')
  })
  expect(await once(engine, 'exit')).toEqual([null, 'SIGKILL'])
}

describe('after an engine that was killed midway', () => {
  it('the next up converges, and the one after changes nothing', async () => {
    await killEngineMidway()
    await bringUp(stack.place, silent)
    expect((await sayHello(stack.premises.stateDir)).answer).toContain('Hello, Forkyard!')
    expect(Object.keys((await bringUp(stack.place, silent)).changes)).toEqual(['unchanged'])
  })

  it('a destroy leaves nothing', async () => {
    await killEngineMidway()
    await takeDown(stack.place, silent)
    expect(left()).toEqual(nothing)
    await takeDown(stack.place, silent)
  })
})

describe('without the state', () => {
  it('a destroy leaves nothing either', async () => {
    await bringUp(stack.place, silent)
    await sayHello(stack.premises.stateDir)
    rmSync(stateFile(stack.place))
    for (const pid of pidsOf('supervisor').slice(0, 1)) process.kill(pid, 'SIGKILL')
    await takeDown(stack.place, silent)
    expect(left()).toEqual(nothing)
  })
})

describe('a scratch stack', () => {
  it('whose owner is gone is removed; this one is not', async () => {
    const dir = join(tmpdir(), 'forkyard-scratch-tabandoned')
    mkdirSync(dir)
    writeFileSync(join(dir, 'owner'), '999999999 1')
    await removeAbandonedStacks(silent)
    await vi.waitFor(() => expect(existsSync(dir)).toBe(false))
    expect(existsSync(join(stack.place.engineDir, '..', 'owner'))).toBe(true)
  })
})

it('the git tree’s configuration has no salt', () => {
  expect(readFileSync(join(repoRoot, 'stacks', 'Pulumi.local.yaml'), 'utf8')).not.toContain('encryptionsalt')
})
