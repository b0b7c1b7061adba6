import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { configDocs, configDocsFile } from './config-docs.ts'

it('the documentation of the configuration is that of its schema (node scripts/config-docs.ts)', () => {
  expect(readFileSync(configDocsFile, 'utf8')).toBe(configDocs())
})
