/** Somebody writes where the node keeps the checkpoints of versions, manifests and all: none of it is ever restored. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { CheckpointIndex, indexKeys } from '../../services/node-agent/checkpoint/checkpoint-index.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { forgeManifest } from './forged-manifest.ts'
import { configOf, metricOf, restartService, versionCheckpointsOf } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const patience = { timeout: 60_000, interval: 100 }
const scratch = mkdtempSync(join(tmpdir(), 'forkyard-forged-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

/** Each invocation is the first of its instance; the answer tells which initialisation it came from. */
const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }
const source = (name: string): string => `const born = process.hrtime.bigint().toString()
export const handler = async () => ({ name: '${name}', born })`

interface Answer {
  readonly name: string
  readonly born: string
  readonly fromVersion: boolean
}
const ask = async (name: string): Promise<Answer> => {
  const { json, text, startType, serverTiming, functionError } = await invoke(client, name, {}, { start: 'restore' })
  expect(functionError, text).toBeUndefined()
  return { ...(json as Answer), fromVersion: startType === 'restore' && serverTiming.includes('restore-version') }
}

const stateDir = (): string => configOf(target, 'node-agent').stateDir
const indexFile = (): string => join(stateDir(), 'checkpoints.json')
const failures = (): Promise<number> => metricOf(target, 'node-agent', 'forkyard_node_restore_failures_total')

/** Its checkpoint's directory, once starts come from it. */
const directoryOf = async (name: string): Promise<string> => {
  const dir = join(stateDir(), 'checkpoints')
  const found = readdirSync(dir).find((key) => {
    const manifest = join(dir, key, 'manifest.json')
    return existsSync(manifest) && readFileSync(manifest, 'utf8').includes(`"${name}"`)
  })
  if (found === undefined) throw new Error(`${name} has no checkpoint`)
  return join(dir, found)
}
/** What starts answer from then on. */
const saved = (name: string): Promise<Answer> =>
  vi.waitFor(async () => {
    const answer = await ask(name)
    if (!answer.fromVersion) throw new Error(`${name} does not start from its own checkpoint`)
    return answer
  }, patience)
const savedFunction = async (prefix: string): Promise<string> => {
  const name = uniqueName(prefix)
  await createFunction(client, name, source(name), { Tags: once })
  await saved(name)
  return name
}
const replaceWith = (from: string, directory: string): void => {
  rmSync(directory, { recursive: true })
  cpSync(from, directory, { recursive: true })
}
const flipPages = (directory: string): void => {
  const file = join(directory, 'pages.img')
  const pages = readFileSync(file)
  pages[pages.length >> 1] = (pages[pages.length >> 1] ?? 0) ^ 1
  writeFileSync(file, pages)
}
const madeOrRefused = (name: string): Promise<void> =>
  vi.waitFor(async () => {
    const report = (await versionCheckpointsOf(target)).find(({ revision }) => revision.includes(`/${name}/`))
    if (report?.state !== 'ready') throw new Error(`${name}: ${report?.state}`)
  }, patience)

let name: string
let directory: string
let before: Answer
beforeEach(async () => {
  name = await savedFunction('mine')
  directory = await directoryOf(name)
  before = await ask(name)
})

/** Refused, by whoever notices first; then made anew, from another initialisation. */
const expectRefused = async (): Promise<void> => {
  const next = await ask(name)
  expect(next).toMatchObject({ name, fromVersion: false })
  const anew = await saved(name)
  expect(anew.name).toBe(name)
  expect(anew.born).not.toBe(before.born)
}

describe('the checkpoint of a version', () => {
  it('negative control: put back as it was, it is used, while the agent runs and after a restart', async () => {
    const copy = join(scratch, name)
    cpSync(directory, copy, { recursive: true })
    replaceWith(copy, directory)
    expect(await ask(name)).toEqual(before)
    await restartService(target, 'node-agent', 'SIGTERM')
    expect(await saved(name)).toEqual(before)
  })

  it.each<[string, () => unknown]>([
    ['with a flipped bit', () => flipPages(directory)],
    [
      'with a flipped bit and a manifest that agrees',
      () => {
        flipPages(directory)
        return forgeManifest(directory)
      },
    ],
    ['whole, with a manifest that agrees and is another', () => forgeManifest(directory, { made: 'elsewhere' })],
    [
      'with the manifest of another version',
      async () =>
        cpSync(
          join(await directoryOf(await savedFunction('other')), 'manifest.json'),
          join(directory, 'manifest.json'),
        ),
    ],
    [
      'swapped for that of another version, which says that it is this one',
      async () => {
        const other = await directoryOf(await savedFunction('other'))
        const manifest = readFileSync(join(directory, 'manifest.json'))
        replaceWith(other, directory)
        writeFileSync(join(directory, 'manifest.json'), manifest)
        return forgeManifest(directory)
      },
    ],
  ])('%s is not restored: the start falls back and is counted, and another one is made', async (_case, damage) => {
    await damage()
    const failed = await failures()
    await expectRefused()
    expect(await failures()).toBe(failed + 1)
  })

  it.each<[string, () => unknown]>([
    ['with a manifest that agrees and is another', () => forgeManifest(directory, { made: 'elsewhere' })],
    ['that nobody vouches for', () => rmSync(indexFile())],
    [
      'entered in the index by somebody without the key',
      async () => {
        const digest = await forgeManifest(directory, { made: 'elsewhere' })
        const { nodeId } = configOf(target, 'node-agent')
        const strangers = indexKeys([{ id: 'one', key: 'f'.repeat(64) }], `of versions on ${nodeId}`)
        rmSync(indexFile())
        new CheckpointIndex(indexFile(), strangers, () => undefined).set(directory.split('/').at(-1) ?? '', digest)
      },
    ],
  ])('%s is refused by the agent that starts, too', async (_case, damage) => {
    await damage()
    await restartService(target, 'node-agent', 'SIGKILL')
    await expectRefused()
  })

  it('of an earlier time is not put back; with the index of that time it would be', async () => {
    const [earlier, index] = [join(scratch, `${name}-earlier`), join(scratch, `${name}-index`)]
    cpSync(directory, earlier, { recursive: true })
    cpSync(indexFile(), index)
    flipPages(directory)
    await expectRefused()
    const later = await saved(name)
    replaceWith(earlier, directory)
    const replayed = await ask(name)
    expect([before.born, later.born]).not.toContain(replayed.born)
    await madeOrRefused(name)
    replaceWith(earlier, directory)
    await restartService(target, 'node-agent', 'SIGKILL')
    expect((await saved(name)).born).not.toBe(before.born)
    // Negative control: the index is what refuses it. Whoever puts back both has put back the node's disk.
    replaceWith(earlier, directory)
    cpSync(index, indexFile())
    await restartService(target, 'node-agent', 'SIGKILL')
    expect((await saved(name)).born).toBe(before.born)
  })
})
