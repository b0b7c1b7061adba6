import { expect, it } from 'vitest'
import type { Entries } from './map-encoding.ts'
import { maxPins, PolicyTable } from './policy-table.ts'

it('one policy opens so many addresses by name and no more, until some have ended', () => {
  let pins = 0
  const maps = {
    update: (map: string, { count }: Entries) => void (pins += map === 'pins' ? count : 0),
    delete: (map: string, { count }: Entries) => void (pins -= map === 'pins' ? count : 0),
  }
  const table = new PolicyTable(maps as never)
  const loaded = table.load({ rules: [{ action: 'allow', protocol: 'tcp', name: '*.example.com' }] })
  const pin = (at: number, until: bigint) =>
    table.pin(loaded, `h${at}.example.com`, [10, 0, at >> 8, at & 0xff], process.hrtime.bigint() + until)
  for (let at = 0; at < maxPins + 10; at++) pin(at, at === 0 ? 0n : 60_000_000_000n)
  expect(pins).toBe(maxPins)
  table.sweep(loaded)
  expect(pins).toBe(maxPins - 1)
  pin(maxPins + 20, 60_000_000_000n)
  expect(pins).toBe(maxPins)
})
