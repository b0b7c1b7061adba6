import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ObjectStore } from '@nats-io/obj'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FileDigests } from '../file-digests.ts'
import { CodeImages } from './code-images.ts'

const image = Buffer.from('the image')
const digest = createHash('sha256').update(image).digest('hex')

let dir: string
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'fy-images-'))))
afterEach(() => rmSync(dir, { recursive: true }))

const storeOf = (bytes: Buffer) => {
  const get = vi.fn(async () => ({ data: new Blob([bytes]).stream(), error: Promise.resolve(null) }))
  return { get, store: { get } as unknown as ObjectStore }
}

test('an image is fetched once for all who want it, and again when it is not what it was', async () => {
  const { get, store } = storeOf(image)
  const images = new CodeImages(dir, store, new FileDigests())
  const paths = await Promise.all([images.path(digest), images.path(digest)])
  expect(new Set(paths).size).toBe(1)
  expect(await images.path(digest)).toBe(paths[0])
  expect(get).toHaveBeenCalledOnce()
  for (const damage of [() => writeFileSync(paths[0], 'thE image'), () => rmSync(paths[0])]) {
    damage()
    expect(readFileSync(await images.path(digest))).toEqual(image)
  }
  expect(get).toHaveBeenCalledTimes(3)
  expect(readdirSync(dir)).toEqual([`${digest}.erofs`])
})

test('whoever comes later does not rely on a look from before the image was flipped', async () => {
  const { get, store } = storeOf(image)
  const first = Promise.withResolvers<string>()
  const of = vi.fn(async () => 'another').mockImplementationOnce(() => first.promise)
  const images = new CodeImages(dir, store, { of } as unknown as FileDigests)
  const earlier = images.path(digest)
  const later = images.path(digest)
  first.resolve(digest)
  await Promise.all([earlier, later])
  expect(get).toHaveBeenCalledOnce()
})

test('bytes of the store that do not have the digest are nobody’s image', async () => {
  const images = new CodeImages(dir, storeOf(Buffer.from('evil')).store, new FileDigests())
  await expect(images.path(digest)).rejects.toMatchObject({ code: 'CODE_CORRUPT' })
  expect(readdirSync(dir)).toEqual([])
})
