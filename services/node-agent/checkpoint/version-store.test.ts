/** Somebody writes where checkpoints lie: none of it is used, and negative controls say why. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fileDigest } from '../file-digests.ts'
import { CheckpointIndex, indexKeys } from './checkpoint-index.ts'
import { VersionStore } from './version-store.ts'

const sealing = [{ id: 'one', key: 'a'.repeat(64) }]
const of = 'of versions on n-1'

let root: string
let dir: string
let indexFile: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fy-store-'))
  dir = join(root, 'checkpoints')
  indexFile = join(root, 'checkpoints.json')
})
afterEach(() => rmSync(root, { recursive: true }))

const foreign = vi.fn()
/** An agent that starts with what is on its disk. */
const startAgent = (keys = sealing, whose = of): VersionStore => {
  foreign.mockClear()
  return new VersionStore(dir, new CheckpointIndex(indexFile, indexKeys(keys, whose), foreign))
}
const publish = (store: VersionStore, key: string, pages: string) =>
  store.publish(key, async (directory) => {
    for (const name of ['checkpoint', 'pages_meta']) writeFileSync(join(directory, `${name}.img`), name)
    writeFileSync(join(directory, 'pages.img'), pages)
    return { revision: { tenant: 't', name: key, version: '1', revisionId: 'r1' }, initMs: 1 }
  })

const manifestOf = (key: string) => join(dir, key, 'manifest.json')
/** Changes the pages, and has the manifest agree. */
const rewrite = async (key: string): Promise<void> => {
  writeFileSync(join(dir, key, 'pages.img'), 'evil')
  const manifest = JSON.parse(readFileSync(manifestOf(key), 'utf8')) as { files: Record<string, string> }
  manifest.files['pages.img'] = await fileDigest(join(dir, key, 'pages.img'))
  writeFileSync(manifestOf(key), JSON.stringify(manifest))
}

describe('a checkpoint of a version', () => {
  it('is used by the agent that made it, and by the next one', async () => {
    await publish(startAgent(), 'k', 'good')
    expect(await startAgent().check('k')).toMatchObject({ key: 'k' })
    expect(foreign).not.toHaveBeenCalled()
  })

  it.each<[string, () => unknown]>([
    ['whose file was flipped', () => writeFileSync(join(dir, 'k', 'pages.img'), 'gooe')],
    ['that was changed, manifest and all', () => rewrite('k')],
    ['with the manifest of another version', () => cpSync(manifestOf('other'), manifestOf('k'))],
    ['swapped with that of another version', () => cpSync(join(dir, 'other'), join(dir, 'k'), { recursive: true })],
    ['without a manifest', () => rmSync(manifestOf('k'))],
    ['that an earlier release made, which had no index', () => rmSync(indexFile)],
  ])('%s is refused at the next start, removed, and can be made anew', async (_case, damage) => {
    const first = startAgent()
    await publish(first, 'k', 'good')
    await publish(first, 'other', 'else')
    await damage()
    const store = startAgent()
    expect(await store.check('k')).toBe('damaged')
    expect(existsSync(join(dir, 'k'))).toBe(false)
    await publish(store, 'k', 'good')
    expect(await startAgent().check('k')).toMatchObject({ key: 'k' })
  })

  it.each<[string, () => unknown]>([
    ['flipped', () => writeFileSync(join(dir, 'k', 'pages.img'), 'gooe')],
    ['changed, manifest and all', () => rewrite('k')],
  ])('that is %s while the agent runs is noticed before its next use', async (_case, damage) => {
    const store = startAgent()
    await publish(store, 'k', 'good')
    expect(await store.problem('k')).toBeUndefined()
    await damage()
    expect(await store.problem('k')).toMatch(/not what it was|not the one that was made/)
  })

  it('of an earlier time is refused, however whole it is', async () => {
    const store = startAgent()
    await publish(store, 'k', 'earlier')
    cpSync(join(dir, 'k'), join(root, 'earlier'), { recursive: true })
    const indexOfThen = readFileSync(indexFile)
    await publish(store, 'k', 'later')
    const putBack = (): void => {
      rmSync(join(dir, 'k'), { recursive: true, force: true })
      cpSync(join(root, 'earlier'), join(dir, 'k'), { recursive: true })
    }
    putBack()
    expect(await startAgent().check('k')).toBe('damaged')
    // Nor after it was removed.
    putBack()
    expect(await startAgent().check('k')).toBe('damaged')
    // Negative control: with the index of its time it is the one that was made. Whoever puts back both has put back the disk.
    putBack()
    writeFileSync(indexFile, indexOfThen)
    expect(await startAgent().check('k')).toMatchObject({ key: 'k' })
  })

  it('that nobody entered in the index is swept, and so are entries without a checkpoint', async () => {
    const store = startAgent()
    await publish(store, 'k', 'good')
    await publish(store, 'gone', 'good')
    cpSync(join(dir, 'k'), join(dir, 'planted'), { recursive: true })
    rmSync(join(dir, 'gone'), { recursive: true })
    expect(store.list().map(({ key }) => key)).toEqual(['k'])
    await store.removeUnreadable()
    expect(readdirSync(dir)).toEqual(['k'])
    expect(readFileSync(indexFile, 'utf8')).not.toContain('gone')
  })
})

describe('the index', () => {
  const entries = (): { manifests: Record<string, string>; mac: string } =>
    JSON.parse(readFileSync(indexFile, 'utf8')) as ReturnType<typeof entries>
  const enter = async (key: string): Promise<void> => {
    const { manifests, mac } = entries()
    writeFileSync(
      indexFile,
      JSON.stringify({ manifests: { ...manifests, [key]: await fileDigest(manifestOf(key)) }, mac }),
    )
  }

  it('is refused as a whole when somebody wrote into it, and everything is made anew', async () => {
    await publish(startAgent(), 'k', 'good')
    await rewrite('k')
    await enter('k')
    expect(await startAgent().check('k')).toBe('damaged')
    expect(foreign).toHaveBeenCalledOnce()
  })

  it('negative control: that same entry is taken with the right code, which needs the key', async () => {
    await publish(startAgent(), 'k', 'good')
    await rewrite('k')
    const digest = await fileDigest(manifestOf('k'))
    new CheckpointIndex(indexFile, indexKeys(sealing, of), foreign).set('k', digest)
    expect(await startAgent().check('k')).toMatchObject({ key: 'k' })
  })

  it.each<[string, typeof sealing, string]>([
    ['of another node', sealing, 'of versions on n-2'],
    ['of the node’s runtimes', sealing, 'of runtimes on n-1'],
    ['of another installation', [{ id: 'one', key: 'b'.repeat(64) }], of],
  ])('%s is no good here', async (_case, keys, whose) => {
    await publish(startAgent(keys, whose), 'k', 'good')
    expect(await startAgent().check('k')).toBe('damaged')
    expect(foreign).toHaveBeenCalledOnce()
  })

  it('outlasts a rotation, and needs the key of before until it is written again', async () => {
    const next = { id: 'two', key: 'c'.repeat(64) }
    await publish(startAgent(), 'k', 'good')
    const rotated = startAgent([next, ...sealing])
    expect(await rotated.check('k')).toMatchObject({ key: 'k' })
    await publish(rotated, 'other', 'good')
    expect(await startAgent([next]).check('k')).toMatchObject({ key: 'k' })
  })

  it.each(['', '{"manifests":', '{"manifests":{},"mac":"00"}'])(
    'that is no index (%j) counts as none',
    async (text) => {
      await publish(startAgent(), 'k', 'good')
      writeFileSync(indexFile, text)
      expect(await startAgent().check('k')).toBe('damaged')
      expect(foreign).toHaveBeenCalledOnce()
    },
  )
})
