/** Checkpoints and images that are not what was made: never used, told, and no reason for a wrong answer. */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../../services/node-agent/config.ts'
import { fileDigest } from '../../services/node-agent/file-digests.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { forgeManifest } from './forged-manifest.ts'
import { configOf, metricOf, withAgentConfig, withRuntime } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const scratch = mkdtempSync(join(tmpdir(), 'forkyard-damaged-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }

const runtimeOf = (name: RuntimeName): RuntimeFiles & { checkpointPath: string } => {
  const files = configOf(target, 'node-agent').runtimes[name]
  if (!files?.checkpointPath) throw new Error(`the node has no checkpoint of ${name}`)
  return { ...files, checkpointPath: files.checkpointPath }
}

const copyOfCheckpoint = (name: string): string => {
  const copy = join(scratch, name)
  cpSync(runtimeOf('nodejs24.x').checkpointPath, copy, { recursive: true })
  return copy
}

const flip = (file: string): void => {
  const bytes = readFileSync(file)
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

const makeFunction = async (input = {}): Promise<string> => {
  const name = uniqueName('damaged')
  await createFunction(
    client,
    name,
    `// ${name}
export const handler = async () => 'alive'`,
    { Tags: once, ...input },
  )
  return name
}

const restoreFailures = (): Promise<number> => metricOf(target, 'node-agent', 'forkyard_node_restore_failures_total')
const agentLog = (): string => readFileSync(join(target.stateDir, 'log/node-agent/current'), 'utf8')

describe('a checkpoint', () => {
  it.each<[string, (copy: string) => unknown]>([
    ['truncated', (copy) => truncateSync(join(copy, 'pages.img'), 4096)],
    ['with a flipped bit', (copy) => flip(join(copy, 'pages.img'))],
    [
      'with the manifest of another',
      (copy) =>
        copyFileSync(join(runtimeOf('python3.11').checkpointPath, 'manifest.json'), join(copy, 'manifest.json')),
    ],
    [
      'swapped with another, manifest and all',
      (copy) => cpSync(runtimeOf('python3.11').checkpointPath, copy, { recursive: true }),
    ],
    [
      'with a flipped bit and a manifest that agrees',
      (copy) => {
        flip(join(copy, 'pages.img'))
        return forgeManifest(copy)
      },
    ],
    ['whole, and not the one that was made', (copy) => forgeManifest(copy, { made: 'at another time' })],
  ])('%s while the agent was away is refused at its start, with the reason in its log', async (what, damage) => {
    const copy = copyOfCheckpoint(what.replaceAll(/\W+/g, '-'))
    await damage(copy)
    const name = await makeFunction()
    const told = agentLog().split('the checkpoint will not be used').length
    await withRuntime(target, 'nodejs24.x', { checkpointPath: copy }, async () => {
      expect(agentLog().split('the checkpoint will not be used').length).toBe(told + 1)
      expect(await invoke(client, name, {}, { start: 'restore' })).toMatchObject({ startType: 'boot', json: 'alive' })
    })
  })

  it('negative control: that same one is used where the configuration names its manifest, and by nobody who is told none', async () => {
    const copy = copyOfCheckpoint('vouched-for')
    const checkpointDigest = await forgeManifest(copy, { made: 'at another time' })
    const name = await makeFunction()
    await withRuntime(target, 'nodejs24.x', { checkpointPath: copy, checkpointDigest }, async () => {
      expect(await invoke(client, name, {}, { start: 'restore' })).toMatchObject({ startType: 'restore' })
    })
    const { checkpointDigest: _digest, ...unnamed } = runtimeOf('nodejs24.x')
    const withoutDigest = (config: NodeAgentConfig): NodeAgentConfig => ({
      ...config,
      runtimes: { ...config.runtimes, 'nodejs24.x': unnamed },
    })
    await withAgentConfig(target, withoutDigest, async () => {
      expect(await invoke(client, name, {}, { start: 'restore' })).toMatchObject({ startType: 'boot', json: 'alive' })
    })
  })

  it('damaged while the agent runs is not used from then on: starts fall back to a boot and are counted', async () => {
    const copy = copyOfCheckpoint('under-way')
    const name = await makeFunction()
    await withRuntime(target, 'nodejs24.x', { checkpointPath: copy }, async () => {
      expect(await invoke(client, name, {}, { start: 'restore' })).toMatchObject({ startType: 'restore' })
      flip(join(copy, 'pages.img'))
      const before = await restoreFailures()
      for (const start of ['restore', 'restore-precreated'] as const)
        expect(await invoke(client, name, {}, { start })).toMatchObject({ startType: 'boot', json: 'alive' })
      expect(await restoreFailures()).toBe(before + 2)
      flip(join(copy, 'pages.img'))
      expect(await invoke(client, name, {}, { start: 'restore' })).toMatchObject({ startType: 'restore' })
    })
  })

  it('that passes for whole, and cannot be restored, falls back to a boot and is counted', async () => {
    const copy = copyOfCheckpoint('lying')
    // Manifest and configuration agree, so the agent takes it; only the restore can find out.
    truncateSync(join(copy, 'checkpoint.img'), 4096)
    const checkpointDigest = await forgeManifest(copy)
    const name = await makeFunction()
    await withRuntime(target, 'nodejs24.x', { checkpointPath: copy, checkpointDigest }, async () => {
      const before = await restoreFailures()
      expect(await invoke(client, name)).toMatchObject({ startType: 'boot', json: 'alive' })
      expect(await restoreFailures()).toBeGreaterThan(before)
    })
  })
})

describe('an image', () => {
  it('of code that is flipped or cut on the node’s disk is fetched again', async () => {
    const codeDir = join(configOf(target, 'node-agent').stateDir, 'code')
    const before = new Set(readdirSync(codeDir))
    const name = await makeFunction()
    await invoke(client, name)
    const [file = ''] = readdirSync(codeDir).filter((entry) => !before.has(entry))
    const path = join(codeDir, file)
    const digest = await fileDigest(path)
    expect(file).toBe(`${digest}.erofs`)
    for (const damage of [flip, (image: string) => truncateSync(image, 4096), rmSync]) {
      damage(path)
      expect(existsSync(path) && (await fileDigest(path)) === digest).toBe(false)
      expect(await invoke(client, name)).toMatchObject({ json: 'alive' })
      expect(await fileDigest(path)).toBe(digest)
    }
  })

  it('of a runtime that is flipped stops that runtime alone, with an error that says so', async () => {
    const [broken, other] = [await makeFunction(), uniqueName('unharmed')]
    await createFunction(
      client,
      other,
      { 'index.py': 'def handler(event, context): return "alive"\n' },
      { Runtime: 'python3.11', Tags: once },
    )
    const image = join(scratch, 'runtime.erofs')
    copyFileSync(runtimeOf('nodejs24.x').imagePath, image)
    flip(image)
    await withRuntime(target, 'nodejs24.x', { imagePath: image }, async () => {
      for (const start of ['restore', 'boot', 'fork'] as const)
        await expect(invoke(client, broken, {}, { start })).rejects.toMatchObject({
          name: 'EC2ThrottledException',
          message: expect.stringContaining('nodejs24.x: its image does not have its digest') as string,
          $metadata: { httpStatusCode: 503 },
        })
      expect(await invoke(client, other)).toMatchObject({ json: 'alive' })
    })
    expect(await invoke(client, broken)).toMatchObject({ json: 'alive' })
  })
})
