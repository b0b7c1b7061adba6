/** The command `forkyard`, as a person calls it, against the scratch installation. */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { installation } from './installation.ts'

const run = promisify(execFile)
const repoRoot = join(import.meta.dirname, '../..')
const dir = mkdtempSync(join(tmpdir(), 'forkyard-cli-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const env = { PATH: process.env['PATH'], HOME: dir, FORKYARD_STATE_DIR: installation().stateDir }
const forkyard = (...args: string[]) => run(join(repoRoot, 'scripts', 'forkyard'), args, { env, timeout: 60_000 })

describe('forkyard', () => {
  const functions = readdirSync(join(repoRoot, 'examples')).filter((name) => !name.startsWith('pulumi-'))
  it.each(functions)('deploys examples/%s', async (example) => {
    const { stdout } = await forkyard('deploy', join(repoRoot, 'examples', example))
    expect(stdout).toMatch(/^arn:aws:lambda:[a-z0-9-]+:\d+:function:/)
  })

  it('invokes, draws the waterfall, and shows the log', async () => {
    const { stdout, stderr } = await forkyard('invoke', 'hello', '--data', '{"name":"Ada"}', '--waterfall', '--tail')
    expect(JSON.parse(stdout)).toEqual({ message: 'Hello, Ada!' })
    expect(stderr).toMatch(/handler\s+[\d.]+ ms/)
    expect(stderr).toContain('greeting Ada')
    await expect
      .poll(async () => (await forkyard('logs', 'hello')).stdout, { timeout: 10_000, interval: 300 })
      .toMatch(/greeting Ada[\s\S]*REPORT RequestId/)
  })

  it('streams', async () => {
    const { stdout } = await forkyard('invoke', 'streaming', '--stream', '--data', '{"text":"a b c"}')
    expect(stdout).toBe('a\nb\nc\n')
  })

  it('runs a custom runtime', async () => {
    const { stdout } = await forkyard('invoke', 'custom-runtime', '--data', '{"n":1}')
    expect(JSON.parse(stdout)).toMatchObject({ echo: { n: 1 }, shell: expect.stringMatching(/^bash /) })
  })

  it('puts a change online', async () => {
    const project = join(dir, 'hello')
    cpSync(join(repoRoot, 'examples', 'hello'), project, { recursive: true })
    const source = join(project, 'index.ts')
    writeFileSync(source, readFileSync(source, 'utf8').replace('Hello, ', 'Servus, '))
    await forkyard('deploy', project)
    expect((await forkyard('invoke', 'hello', '--data', '{"name":"Ada"}')).stdout).toContain('Servus, Ada!')
  })

  it('lists, shows the node, and removes', async () => {
    expect((await forkyard('list')).stdout).toMatch(/^hello\s+nodejs24\.x/m)
    const { stdout: status } = await forkyard('status')
    expect(status).toMatch(/accepting/)
    expect(status).toMatch(/^START TYPE +ANSWERS +P50 MS +P90 MS +P99 MS$/m)
    expect(status).toMatch(/^restore +\d+ +[\d.]+ +[\d.]+ +[\d.]+$/m)
    const explained = (await forkyard('explain', 'hello')).stdout
    expect(explained).toMatch(/^hello {2}version \$LATEST, 128 MiB, 1 at a time/)
    expect(explained).toMatch(/^next {5}(idle|start) on /m)
    expect(explained).toMatch(/^start {4}(warm|restore): /m)
    expect(explained).toMatch(/^idle instances +\d+ +\d+ +\S/m)
    expect(explained).toMatch(/^seed +0 +0 +neither the function nor the stack allows forks/m)
    await forkyard('rm', 'hello')
    expect((await forkyard('list')).stdout).not.toMatch(/^hello\s/m)
    await expect(forkyard('invoke', 'hello')).rejects.toMatchObject({ stderr: expect.stringContaining('not found') })
  })

  it('prints an environment with which any SDK works', async () => {
    const { stdout } = await forkyard('env', '--json')
    const { endpoint, accessKeyId, secretAccessKey, region } = installation()
    expect(JSON.parse(stdout)).toEqual({
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
    })
  })
})
