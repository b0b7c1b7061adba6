import { describe, expect, it } from 'vitest'
import { createSealer, SealError } from './sealing.ts'

const first = { id: 's1', key: '1'.repeat(64) }
const second = { id: 's2', key: '2'.repeat(64) }

describe('sealed text', () => {
  const sealer = createSealer([first])

  it('opens where it was sealed for, and tells nothing before', () => {
    const sealed = sealer.seal('a secret ü', 'place.1')
    expect(sealer.open(sealed, 'place.1')).toBe('a secret ü')
    expect(sealed).not.toContain(Buffer.from('secret').toString('base64url'))
    expect(sealer.seal('a secret ü', 'place.1')).not.toBe(sealed)
  })

  it.each<[string, (sealed: string) => [string, string]]>([
    ['in another place', (sealed) => [sealed, 'place.2']],
    [
      'with a bit flipped',
      (sealed) => [sealed.slice(0, -2) + (sealed.at(-2) === 'A' ? 'B' : 'A') + sealed.at(-1), 'place.1'],
    ],
    ['with its tag cut short', (sealed) => [sealed.slice(0, -20), 'place.1']],
    ['without a body', () => ['fy1.s1..', 'place.1']],
    ['of another format', (sealed) => [sealed.replace('fy1', 'fy0'), 'place.1']],
    ['under another key', () => [createSealer([second]).seal('x', 'place.1'), 'place.1']],
    [
      'under another key of the same id',
      () => [createSealer([{ ...second, id: 's1' }]).seal('x', 'place.1'), 'place.1'],
    ],
  ])('does not open %s', (_case, change) => {
    expect(() => sealer.open(...change(sealer.seal('x', 'place.1')))).toThrow(SealError)
  })

  it('of the key before opens after a rotation, and is known as old', () => {
    const sealed = sealer.seal('x', 'place.1')
    const rotated = createSealer([second, first])
    expect(rotated.open(sealed, 'place.1')).toBe('x')
    expect([rotated.isOld(sealed), rotated.isOld(rotated.seal('x', 'p'))]).toEqual([true, false])
  })
})
