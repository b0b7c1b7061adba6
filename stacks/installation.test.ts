import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { parseStackConfig } from './config.ts'
import { LocalHost } from './host.ts'
import { createInstallation } from './installation.ts'
import { createSite, localPrograms, loopback } from './site.ts'
import { changedCommands, commandOf, commandsOf, runMocked, secretMark, type Seen } from './testing/program-run.ts'

const base = mkdtempSync(join(tmpdir(), 'forkyard-installation-'))
const repoRoot = join(base, 'repo')
afterAll(() => rmSync(base, { recursive: true }))

const writeService = (name: string, text: string): void => {
  mkdirSync(join(repoRoot, 'services', name), { recursive: true })
  writeFileSync(join(repoRoot, 'services', name, 'main.ts'), text)
}

const results: Readonly<Record<string, object>> = {
  image: { imagePath: '/cache/image', imageDigest: 'digest' },
  checkpoint: { checkpointPath: '/state/checkpoint', key: 'key', digest: 'manifest' },
  addon: { addonPath: '/cache/addon' },
}

const parents = new Map<string, pulumi.Resource | undefined>()

class RecordingHost extends LocalHost {
  override run(...[name, command, options]: Parameters<LocalHost['run']>) {
    parents.set(name, options.parent)
    return super.run(name, command, options)
  }
}

interface ProgramRun {
  readonly preview?: boolean
  readonly runtimeDigest?: string
  readonly raw?: Readonly<Record<string, string>>
}

const runProgram = ({ preview = false, runtimeDigest = 'r', raw = {} }: ProgramRun = {}): Promise<Seen> => {
  const dirs = { 'forkyard:stateDir': join(base, 'state'), 'forkyard:runDir': '/run/forkyard/unit' }
  const around = { stack: 'local', cacheDir: join(base, 'cache'), memoryMiB: 8192 }
  const config = parseStackConfig({ ...dirs, ...raw }, around)
  const program = () => {
    const site = createSite({
      host: new RecordingHost(config.installation, repoRoot),
      config,
      repoRoot,
      programs: localPrograms(config),
      exposure: loopback,
    })
    createInstallation(site, { runtime: () => runtimeDigest, checkpoint: () => 'c' })
  }
  return runMocked(results, program, preview)
}

beforeEach(() => {
  for (const name of ['gateway', 'scheduler', 'node-agent']) writeService(name, `console.log('${name}')`)
})

describe('the program', () => {
  it('makes every component of an installation', async () => {
    const run = await runProgram()
    const components = [...run.values()].filter(({ type }) => type.startsWith('forkyard:index:'))
    expect(new Set(components.map(({ type }) => type.slice('forkyard:index:'.length)))).toEqual(
      new Set(
        ['HostDirectories', 'Credentials', 'RuntimeImage', 'CheckpointImage', 'NatsServer', 'Scheduler'].concat([
          'NodeAgent',
          'NodeAddon',
          'Gateway',
          'ServiceBundle',
          'SupervisedService',
          'ClientFile',
        ]),
      ),
    )
  })

  it('gives every command a component as its parent', async () => {
    parents.clear()
    const names = commandsOf(await runProgram()).map(({ name }) => name)
    expect([...parents.keys()].toSorted()).toEqual(names.toSorted())
    for (const parent of parents.values()) expect(parent).toBeInstanceOf(pulumi.ComponentResource)
  })

  it('keeps secrets out of command lines', async () => {
    for (const { inputs } of commandsOf(await runProgram())) {
      expect(JSON.stringify([inputs['create'], inputs['delete']])).not.toContain(secretMark)
      expect(inputs['environment']).toMatchObject({ PULUMI_CONFIG_PASSPHRASE_FILE: '' })
    }
  })

  it('offers only the runtimes that are wanted, and no checkpoints when these are off', async () => {
    const run = await runProgram({ raw: { 'forkyard:runtimes': '["nodejs24.x"]', 'forkyard:checkpoints': 'false' } })
    const names = commandsOf(run).map(({ name }) => name)
    expect(names).toContain('nodejs24.x-image')
    expect(names.filter((name) => /provided|python|checkpoint/.test(name))).toEqual([])
  })

  it('writes nothing, neither in a preview nor before the engine runs its commands', async () => {
    await runProgram({ preview: true })
    await runProgram()
    expect(readdirSync(base)).toEqual(['repo'])
    expect(readdirSync(repoRoot)).toEqual(['services'])
  })
})

describe('a change', () => {
  it.each(['gateway', 'scheduler', 'node-agent'])('of the code of %s touches that service alone', async (name) => {
    const before = await runProgram()
    writeService(name, `console.log('another ${name}')`)
    expect(changedCommands(before, await runProgram())).toEqual([`${name}-code`, `${name}-process`])
  })

  it('of nothing touches nothing', async () => {
    expect(changedCommands(await runProgram(), await runProgram())).toEqual([])
  })

  it('of an image builder rebuilds images', async () => {
    const touched = changedCommands(await runProgram(), await runProgram({ runtimeDigest: 'other' }))
    expect(touched).toEqual(['nodejs24.x-image', 'provided.al2023-image', 'python3.11-image'])
  })

  it('of the port of NATS reaches everyone who connects to it', async () => {
    const touched = changedCommands(await runProgram(), await runProgram({ raw: { 'forkyard:natsPort': '9999' } }))
    expect(touched).toEqual(['gateway-process', 'nats-process', 'node-agent-process', 'scheduler-process'])
  })

  it('of the installation’s name replaces what carries it', async () => {
    const before = await runProgram()
    const after = await runProgram({ raw: { 'forkyard:installation': 'blue' } })
    for (const name of ['host-directories', 'nats-process', 'gateway-process']) {
      const triggers = (run: Seen) => commandOf(run, name)?.inputs['triggers']
      expect(triggers(after)).not.toEqual(triggers(before))
    }
  })
})
