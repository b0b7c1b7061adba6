import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { existingScript, pruneScript, putScript, removeScript } from './place-script.ts'

const base = mkdtempSync(join(tmpdir(), 'forkyard-place-'))
afterAll(() => rmSync(base, { recursive: true }))
const sh = (script: string, args: readonly string[], input = ''): string =>
  execFileSync('sh', ['-c', script, 'sh', ...args], { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] })
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const path = join(base, 'store', 'x', `it's a tool`)

it('a file arrives whole, with its mode and its link', () => {
  sh(putScript, [sha256('one'), path, '755', join(base, 'bin', 'tool')], 'one')
  expect(readFileSync(join(base, 'bin', 'tool'), 'utf8')).toBe('one')
  expect(readlinkSync(join(base, 'bin', 'tool'))).toBe(path)
  expect(statSync(path).mode & 0o777).toBe(0o755)
})

it('one that is cut short is refused, and what was there stays', () => {
  expect(() => sh(putScript, [sha256('two'), path, '755', ''], 'tw')).toThrow('did not arrive as it was sent')
  expect(readFileSync(path, 'utf8')).toBe('one')
  expect(readdirSync(join(base, 'store', 'x'))).toEqual([`it's a tool`])
})

it('what is there is told by its content', () => {
  expect(sh(existingScript, [path, join(base, 'nothing')])).toBe(`${sha256('one')}\n\n`)
})

it('a link moves without a moment of nothing', () => {
  const next = join(base, 'store', 'y', 'tool')
  sh(putScript, [sha256('two'), next, '755', join(base, 'bin', 'tool')], 'two')
  expect(readlinkSync(join(base, 'bin', 'tool'))).toBe(next)
  expect(readdirSync(join(base, 'bin'))).toEqual(['tool'])
})

it('one generation back is kept, and nothing older; the same again changes nothing', () => {
  const store = join(base, 'store')
  const generation = (...names: string[]) => {
    for (const name of names) if (!existsSync(join(store, name))) writeFileSync(join(store, name), '')
    sh(pruneScript, [store, ...names.map((name) => join(store, name))])
    return readdirSync(store).filter((name) => !name.startsWith('.'))
  }
  rmSync(store, { recursive: true })
  execFileSync('mkdir', [store])
  expect(generation('a', 'b')).toEqual(['a', 'b'])
  expect(generation('a', 'c')).toEqual(['a', 'b', 'c'])
  expect(generation('a', 'c')).toEqual(['a', 'b', 'c'])
  expect(generation('d')).toEqual(['a', 'c', 'd'])
})

it('what is removed takes its empty directory along, and may be gone already', () => {
  sh(removeScript, [join(base, 'bin', 'tool'), join(base, 'nowhere', 'x')])
  expect(existsSync(join(base, 'bin'))).toBe(false)
})
