/** The steps of a pipeline, run as any CI would: on a checkout of their own, with the state in a backend. One story, in order. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { enginePath, enginePathPrefix } from '../../scripts/engine.ts'
import { freePorts } from '../../scripts/free-ports.ts'
import { cacheDir, pulumiHome } from '../../scripts/setup/paths.ts'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import { CommandError, run } from '../../scripts/setup/run.ts'
import { removeLeftovers } from '../../stacks/host-scripts/leftovers.ts'
import { removeUnits } from '../../stacks/host-scripts/systemd.ts'
import { copyTree, type TreeCopy } from './lab/tree-copy.ts'

const name = `p${process.pid}`
const base = mkdtempSync(join(tmpdir(), 'forkyard-pipeline-'))
const stateDir = join(base, 'state')
const runDir = `/run/forkyard/${name}`
let tree: TreeCopy
let url: string

const env: NodeJS.ProcessEnv = {
  ...process.env,
  PULUMI_BACKEND_URL: `file://${join(base, 'backend')}`,
  PULUMI_CONFIG_PASSPHRASE: 'of the pipeline',
}

const step = (verb: string): Promise<string> =>
  run(join(tree.dir, 'scripts/ci/stack'), [verb, name], { cwd: '/', env, timeoutMs: 300_000 })

const pulumi = (...args: string[]): Promise<string> =>
  run(enginePath(), [...args, '--non-interactive'], {
    cwd: tree.dir,
    env: {
      ...env,
      PULUMI_HOME: pulumiHome(),
      FORKYARD_CACHE: cacheDir(),
      PATH: [...enginePathPrefix(), process.env['PATH']].join(delimiter),
    },
  })

const failure = async (output: Promise<string>): Promise<string> =>
  output.then(
    () => 'it succeeded',
    (error: CommandError) => error.output,
  )

beforeAll(async () => {
  await prepareMachine()
  mkdirSync(join(base, 'backend'))
  tree = await copyTree(join(base, 'tree'))
  const [gatewayPort, schedulerPort, nodeAgentPort, natsPort] = await freePorts(4)
  url = `http://127.0.0.1:${gatewayPort}`
  // What people do once, and commit.
  await pulumi('stack', 'init', name, '--no-select')
  const settings = { stateDir, runDir, gatewayPort, schedulerPort, nodeAgentPort, natsPort, runtimes: '["nodejs24.x"]' }
  const lines = Object.entries(settings).map(([key, value]) => `  forkyard:${key}: ${JSON.stringify(String(value))}\n`)
  const file = join(tree.dir, 'stacks', `Pulumi.${name}.yaml`)
  writeFileSync(file, `${readFileSync(file, 'utf8').trimEnd()}\nconfig:\n${lines.join('')}`)
}, 600_000)

afterAll(async () => {
  await removeUnits(name)
  await removeLeftovers({ installation: name, stateDir, runDir })
  rmSync(base, { recursive: true, force: true })
}, 120_000)

describe('a pipeline', () => {
  it('without a backend is refused: its state would go with its machine', async () => {
    const { PULUMI_BACKEND_URL: _, ...without } = env
    const told = await failure(run(join(tree.dir, 'scripts/ci/stack'), ['preview', name], { env: without }))
    expect(told).toContain('PULUMI_BACKEND_URL is not set')
  })

  it('previews a new installation, and makes nothing', async () => {
    expect(await step('preview')).toMatch(/\+ \d+ to create/)
    expect(existsSync(stateDir)).toBe(false)
  })

  it('is stopped by what must never be configured, before anything is made', async () => {
    tree.change('stacks/components/gateway.ts', `privileges: 'none'`, `privileges: 'root'`)
    expect(await failure(step('up'))).toMatch(/services-unprivileged[\s\S]*gateway has privileges: root/)
    expect(existsSync(join(stateDir, 'services', 'gateway', 'config.json'))).toBe(false)
    tree.change('stacks/components/gateway.ts', `privileges: 'root'`, `privileges: 'none'`)
  })

  it('brings the installation up, and finds nothing to do the second time', async () => {
    await step('up')
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    expect(await step('up')).toMatch(/^Resources:\n\s+\d+ unchanged$/m)
  })

  it('finds what was changed by hand, and makes it again', async () => {
    expect(await step('drift')).toContain('everything is as the last update made it')
    const file = join(stateDir, 'client.json')
    rmSync(file)
    expect(await failure(step('drift'))).toContain(`client-file: ${file} is not there`)
    await step('mend')
    expect(existsSync(file)).toBe(true)
  })

  it('takes it away like any stack', async () => {
    await pulumi('destroy', '--yes', '--skip-preview', '--stack', name)
    expect(existsSync(join(stateDir, 'services'))).toBe(false)
    await expect(fetch(`${url}/readyz`)).rejects.toThrow()
  })
})
