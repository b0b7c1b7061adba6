import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { bundleService } from './bundle.ts'

const root = mkdtempSync(join(tmpdir(), 'forkyard-bundle-'))
afterAll(() => rmSync(root, { recursive: true }))
const source = (text: string) => writeFileSync(join(root, 'main.ts'), text)

it('the same sources give the same digest, others another, and nothing is written', async () => {
  source('console.log(1 as number)')
  const first = await bundleService('main.ts', root)
  expect(await bundleService('main.ts', root)).toEqual(first)
  source('console.log(2 as number)')
  expect((await bundleService('main.ts', root)).digest).not.toBe(first.digest)
  expect(readdirSync(root)).toEqual(['main.ts'])
})

it('what does not build says where', async () => {
  source('import "./missing.ts"')
  await expect(bundleService('main.ts', root)).rejects.toThrow(/main\.ts:1:7.*missing\.ts/s)
})
