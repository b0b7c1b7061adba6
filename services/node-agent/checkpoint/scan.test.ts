import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { findSecrets } from './scan.ts'

const dir = mkdtempSync(join(tmpdir(), 'fy-scan-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const pagesWith = (bytes: Buffer, at: number): void => {
  const pages = Buffer.alloc(3 << 20, 0xa5)
  bytes.copy(pages, at)
  writeFileSync(join(dir, 'pages.img'), pages)
}
const secrets = { TOKEN: 'correct-horse', OTHER: 'battery-staple', SHORT: 'abc' }

test.each([
  ['as UTF-8', Buffer.from('correct-horse'), 12_345],
  ['as UTF-16', Buffer.from('correct-horse', 'utf16le'), 12_345],
  ['across two pieces that are read', Buffer.from('correct-horse'), (1 << 20) - 5],
  ['at the very end', Buffer.from('correct-horse'), (3 << 20) - 13],
])('a secret is found %s', async (_, bytes, at) => {
  pagesWith(bytes, at)
  expect(await findSecrets(dir, secrets)).toEqual(['TOKEN'])
})

test('a secret with letters beyond ASCII is found in each form', async () => {
  for (const encoding of ['utf8', 'utf16le', 'latin1'] as const) {
    pagesWith(Buffer.from('schlüsselwort', encoding), 77)
    expect(await findSecrets(dir, { KEY: 'schlüsselwort' }), encoding).toEqual(['KEY'])
  }
})

test('half of a secret is none, and what is too short is not looked for', async () => {
  pagesWith(Buffer.from('correct-hors, abc'), 100)
  expect(await findSecrets(dir, secrets)).toEqual([])
})
