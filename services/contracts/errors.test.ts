import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { errorTable, PlatformError, type ErrorCode } from './errors.ts'

const docs = readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8')

const documented = docs.split('\n').flatMap((line) => {
  const [, code, status, retry, fault, awsType, when] = line.split('|').map((cell) => cell.trim().replaceAll('`', ''))
  return /^[A-Z_]+$/.test(code ?? '') ? [{ code, status: Number(status), retry, fault, awsType, when }] : []
})

describe('the error table', () => {
  it('is the one in docs/errors.md', () => {
    const rows = documented.map(({ when: _when, ...row }) => row)
    const wanted = Object.entries(errorTable).map(([code, { status, retryable, fault, awsType }]) => ({
      code,
      status,
      retry: retryable ? 'yes' : 'no',
      fault,
      awsType,
    }))
    expect(rows).toEqual(wanted)
  })

  it('says of every code when it happens', () => {
    for (const { code, when } of documented) expect(when, code).toMatch(/^[A-Z`].{10,}\.$/)
  })
})

describe('PlatformError', () => {
  it.each(Object.keys(errorTable) as ErrorCode[])('%s survives the wire', (code) => {
    const received = PlatformError.fromBody(
      JSON.parse(JSON.stringify(new PlatformError(code, 'm', { limit: 1 }).toBody())),
    )
    expect(received).toMatchObject({ code, message: 'm', details: { limit: 1 } })
  })

  it.each([undefined, null, 'text', {}, { code: 'NOT_A_CODE', message: 'm' }, { code: 'toString' }])(
    'of unknown shape becomes INTERNAL (%j)',
    (body) => {
      expect(PlatformError.fromBody(body).code).toBe('INTERNAL')
    },
  )
})
