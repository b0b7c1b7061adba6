/**
 * The steps of a pipeline, run as any CI would: on a checkout of their own, with the state in an S3-compatible store that somebody else wrote. One
 * story, in order.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { enginePath, enginePathPrefix } from '../../scripts/engine.ts'
import { freePorts } from '../../scripts/free-ports.ts'
import { cacheDir, pulumiHome } from '../../scripts/setup/paths.ts'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import { CommandError, run } from '../../scripts/setup/run.ts'
import { startStore, type TestStore } from '../support/s3-store.ts'
import { claimDir, claimInstallation, removeClaimedDir } from './lab/claimed-dir.ts'
import { copyTree, type TreeCopy } from './lab/tree-copy.ts'

const name = `p${process.pid}`
const base = claimDir(name)
const stateDir = join(base, 'state')
const runDir = `/run/forkyard/${name}`
claimInstallation(base, { installation: name, stateDir, runDir })
const bucket = 'state'
let tree: TreeCopy
let url: string
let store: TestStore
let objects: S3Client
let env: NodeJS.ProcessEnv

/** A bucket for the state, and what a pipeline is given to reach it. */
const openBackend = async (): Promise<void> => {
  store = await startStore()
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  objects = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
  await objects.send(new CreateBucketCommand({ Bucket: bucket }))
  const query = new URLSearchParams({ endpoint, region, s3ForcePathStyle: 'true' })
  env = {
    ...process.env,
    PULUMI_BACKEND_URL: `s3://${bucket}?${query.toString()}`,
    PULUMI_CONFIG_PASSPHRASE: 'of the pipeline',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  }
}

const stateKeys = async (): Promise<string[]> => {
  const { Contents = [] } = await objects.send(new ListObjectsV2Command({ Bucket: bucket }))
  return Contents.map(({ Key = '' }) => Key)
}

/** The step with all that it started, killed once a line of its output matches. */
const stepKilledAt = async (verb: string, line: RegExp): Promise<void> => {
  const running = spawn(join(tree.dir, 'scripts/ci/stack'), [verb, name], {
    cwd: '/',
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let seen = false
  running.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (seen || !line.test(text) || running.pid === undefined) return
    seen = true
    process.kill(-running.pid, 'SIGKILL')
  })
  await once(running, 'exit')
  if (!seen) throw new Error(`the step ended before it said ${String(line)}`)
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
  await prepareMachine([], ['test'])
  await openBackend()
  tree = await copyTree(join(base, 'tree'))
  const [gatewayPort, schedulerPort, nodeAgentPort, natsPort, callPort] = await freePorts(5)
  url = `http://127.0.0.1:${gatewayPort}`
  // What people do once, and commit.
  await pulumi('stack', 'init', name, '--no-select')
  const settings = {
    stateDir,
    runDir,
    gatewayPort,
    schedulerPort,
    nodeAgentPort,
    natsPort,
    callPort,
    runtimes: '["nodejs24.x"]',
  }
  const lines = Object.entries(settings).map(([key, value]) => `  forkyard:${key}: ${JSON.stringify(String(value))}\n`)
  const file = join(tree.dir, 'stacks', `Pulumi.${name}.yaml`)
  writeFileSync(file, `${readFileSync(file, 'utf8').trimEnd()}\nconfig:\n${lines.join('')}`)
}, 600_000)

afterAll(async () => {
  objects?.destroy()
  await store?.stop()
  await removeClaimedDir(base)
}, 120_000)

const nothingToDo = /^Resources:\n\s+\d+ unchanged$/m

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
    expect(await step('up')).toMatch(nothingToDo)
    expect(await stateKeys()).toContain(`.pulumi/stacks/forkyard/${name}.json`)
  })

  it('whose machine dies in the middle leaves the stack locked; once that is taken away, the same step finishes it', async () => {
    await pulumi('config', 'set', 'forkyard:logLevel', 'debug', '--stack', name)
    await stepKilledAt('up', /scheduler-process\s+updating/)
    expect(await failure(step('up'))).toContain('currently locked by 1 lock')
    await pulumi('cancel', '--yes', '--stack', name)
    await step('up')
    expect(await step('up')).toMatch(nothingToDo)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
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
