import { describe, expect, it } from 'vitest'
import { CallTable } from './call-table.ts'

describe('calls that wait', () => {
  it('are taken once, by their number', () => {
    const calls = new CallTable<string>()
    const [a, b] = [calls.add('a'), calls.add('b')]
    expect(calls.size).toBe(2)
    expect([calls.take(b), calls.take(a), calls.take(a)]).toEqual(['b', 'a', undefined])
    expect(calls.size).toBe(0)
  })

  it('never have a number again, so that a late answer is nobody’s', () => {
    const calls = new CallTable<number>()
    const numbers = new Set<number>()
    for (let turn = 0; turn < 1000; turn++) {
      const number = calls.add(turn)
      expect(number).toBeGreaterThan(0)
      expect(Number.isSafeInteger(number)).toBe(true)
      numbers.add(number)
      for (const old of [...numbers].slice(0, -1).slice(-3)) expect(calls.take(old)).toBeUndefined()
      expect(calls.take(number)).toBe(turn)
    }
    expect(numbers.size).toBe(1000)
  })

  it('know nothing of numbers that nobody gave', () => {
    const calls = new CallTable<string>()
    calls.add('a')
    for (const number of [0, -1, 2, 1.5, Number.NaN, 40_000]) expect(calls.take(number)).toBeUndefined()
    expect(calls.size).toBe(1)
  })

  it('can be gone through while they are taken', () => {
    const calls = new CallTable<string>()
    for (const item of ['a', 'b', 'c']) calls.add(item)
    const left = new Set<string>()
    for (const [number, item] of calls.numbers()) {
      expect(calls.take(number)).toBe(item)
      left.add(item)
    }
    expect([...left].toSorted()).toEqual(['a', 'b', 'c'])
    expect(calls.size).toBe(0)
  })

  it('are refused when there is no place left', () => {
    const calls = new CallTable<number>()
    for (let at = 0; at < 32_768; at++) calls.add(at)
    expect(() => calls.add(0)).toThrow(RangeError)
  })
})
