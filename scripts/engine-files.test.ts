import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { dropHalfWritten } from './engine-files.ts'

it('half of a note beside the state goes; whole ones and the state itself stay', () => {
  const engineDir = mkdtempSync(join(tmpdir(), 'forkyard-engine-'))
  const dir = join(engineDir, '.pulumi', 'stacks', 'forkyard')
  const place = { stack: 'a', engineDir, configText: () => '' }
  dropHalfWritten(place)
  mkdirSync(dir, { recursive: true })
  const files = { 'a.json': '', 'a.json.attrs': '', 'b.json.attrs': '{"md5":"x"}', 'c.json.attrs': '{"md5"' }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text)
  writeFileSync(join(engineDir, '.pulumi', 'meta.yaml.attrs'), '')
  dropHalfWritten(place)
  expect(Object.keys(files).filter((name) => existsSync(join(dir, name)))).toEqual(['a.json', 'b.json.attrs'])
  expect(existsSync(join(engineDir, '.pulumi', 'meta.yaml.attrs'))).toBe(false)
  rmSync(engineDir, { recursive: true })
})
