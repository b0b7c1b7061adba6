import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withScratch } from './scratch.ts'

let parent: string
beforeEach(() => (parent = mkdtempSync(join(tmpdir(), 'fy-scratch-'))))
afterEach(() => rmSync(parent, { recursive: true }))

test('the directory goes with the work, also when that fails', async () => {
  const failing = withScratch(parent, '.x-', async (dir) => {
    writeFileSync(join(dir, 'file'), '')
    throw new Error('no')
  })
  await expect(failing).rejects.toThrow('no')
  expect(readdirSync(parent)).toEqual([])
})

test('what a killed run left is removed by the next, what a living one uses is not', async () => {
  const gone = spawn(process.execPath, ['-e', ''])
  await once(gone, 'exit')
  mkdirSync(join(parent, `.x-${gone.pid}`))
  mkdirSync(join(parent, `.x-1`))
  await withScratch(parent, '.x-', async () => undefined)
  expect(readdirSync(parent)).toEqual(['.x-1'])
})

test('a run that is told to end leaves nothing', async () => {
  const code = `import { withScratch } from ${JSON.stringify(join(import.meta.dirname, 'scratch.ts'))}
    await withScratch(${JSON.stringify(parent)}, '.x-', () => new Promise(() => { console.log('here'); setInterval(() => {}, 1000) }))`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  expect(existsSync(join(parent, `.x-${child.pid}`))).toBe(true)
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([143, null])
  expect(readdirSync(parent)).toEqual([])
})
