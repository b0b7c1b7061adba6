import { describe, expect, it } from 'vitest'
import { PlatformError } from './errors.ts'
import { requireKnownProtocol } from './protocol.ts'

const codeOf = (given: string | undefined, own: number): string | undefined => {
  try {
    requireKnownProtocol(given, own)
    return undefined
  } catch (error) {
    return (error as PlatformError).code
  }
}

describe('a service of protocol 4', () => {
  it.each(['3', '4', '5'])('understands %s', (given) => {
    expect(codeOf(given, 4)).toBeUndefined()
  })

  it.each([undefined, '1', '2', '6', '0', '-4', '4.0', '4, 4', 'four', ''])('refuses %j', (given) => {
    expect(codeOf(given, 4)).toBe('UNSUPPORTED_PROTOCOL')
  })

  it('tells both versions', () => {
    expect(() => requireKnownProtocol('7', 4)).toThrow(
      'this service speaks protocol 4 and understands 3 to 5; it was spoken to in 7',
    )
  })
})

it.each([1, 2])('who says nothing speaks 1: service of protocol %i', (own) => {
  expect(codeOf(undefined, own)).toBeUndefined()
})
