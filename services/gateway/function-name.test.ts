import { assert, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PlatformError } from '../contracts/errors.ts'
import { parseFunctionName } from './function-name.ts'

const region = 'eu-test-1'
const arn = `arn:aws:lambda:${region}:000000000000:function:f`

describe('a function is named', () => {
  it.each([
    ['f', undefined],
    ['f:live', 'live'],
    ['f:$LATEST', '$LATEST'],
    ['function:f', undefined],
    ['000000000000:function:f:7', '7'],
    [arn, undefined],
    [`${arn}:live`, 'live'],
  ])('%s', (text, qualifier) => {
    expect(parseFunctionName(text, region, 'default')).toEqual({ name: 'f', qualifier })
  })

  it('by name and query qualifier together, when they agree', () => {
    expect(parseFunctionName('f', region, 'default', 'live')).toEqual({ name: 'f', qualifier: 'live' })
    expect(parseFunctionName('f:live', region, 'default', 'live')).toEqual({ name: 'f', qualifier: 'live' })
    expect(() => parseFunctionName('f:live', region, 'default', '2')).toThrow('does not match the specified qualifier')
  })
})

describe('no function is named', () => {
  it.each([
    '',
    'a.b',
    'a*',
    'a>',
    'a b',
    'a\r\nb',
    'a/b',
    'f:',
    'f:a:b',
    'x'.repeat(65),
    'ä',
    `${arn}:`,
    'arn:aws:s3:::f',
  ])('%j', (text) => {
    expect(() => parseFunctionName(text, region, 'default')).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    )
  })

  it.each([arn.replace(region, 'eu-test-2'), arn.replace('000000000000', '111111111111')])('here: %s', (text) => {
    expect(() => parseFunctionName(text, region, 'default')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })

  it('or the name is safe as a subject token', () => {
    assert(
      property(string({ unit: 'binary' }), (text) => {
        try {
          expect(parseFunctionName(text, region, 'default').name).toMatch(/^[A-Za-z0-9_-]{1,64}$/)
        } catch (error) {
          expect(error).toBeInstanceOf(PlatformError)
        }
      }),
    )
  })
})
