import { randomBytes } from 'node:crypto'
import { anything, array, assert, asyncProperty, dictionary, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCodeBody } from './code-body.ts'

describe('a body with code', () => {
  it('gives long members as bytes, and everything else as it is', async () => {
    const zip = randomBytes(3 * 1024 * 1024 + 1)
    const json = { 'a"\\': '\\"', Code: { ZipFile: zip.toString('base64') }, n: [1, null, '"'], Publish: true }
    const { value, bytesOf } = parseCodeBody(Buffer.from(JSON.stringify(json)))
    const { Code, ...rest } = value as typeof json
    expect(rest).toEqual({ 'a"\\': '\\"', n: [1, null, '"'], Publish: true })
    expect((await bytesOf(Code.ZipFile)).equals(zip)).toBe(true)
    expect(Code.ZipFile.length).toBeLessThan(100)
  })

  it('gives short ones too', async () => {
    const { value, bytesOf } = parseCodeBody(Buffer.from('{"ZipFile":"aGk="}'))
    expect((await bytesOf((value as { ZipFile: string }).ZipFile)).toString()).toBe('hi')
  })

  it('means what JSON.parse means', async () => {
    await assert(
      asyncProperty(dictionary(string({ unit: 'binary' }), array(anything({ maxDepth: 2 }))), async (object) => {
        const json = JSON.stringify(object)
        expect(parseCodeBody(Buffer.from(json)).value).toEqual(JSON.parse(Buffer.from(json).toString()))
      }),
    )
  })

  it.each(['{', '{"a":"', '"\\"', '{"a":1}}', `{"a":"${'x'.repeat(20_000)}`, ''])(
    'is refused when it is no JSON: %.10s',
    (text) => {
      expect(() => parseCodeBody(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
    },
  )

  it.each(['a', 'a*bc', 'aGk=aGk=', 'aGk===', `${'A'.repeat(20_000)}?`, `${'A'.repeat(1024 * 1024)}=AAA`])(
    'is refused when its code is no base64: %.10s',
    async (text) => {
      const { value, bytesOf } = parseCodeBody(Buffer.from(JSON.stringify({ z: text })))
      await expect(bytesOf((value as { z: string }).z)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    },
  )
})
