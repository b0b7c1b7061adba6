import { expect, it } from 'vitest'
import { parseCidr } from '../../contracts/network.ts'
import { addressPlan, formatAddress, maxSlots, networkOf, overlaps, slotAddresses } from './addresses.ts'

it('the same installation has the same names and addresses, another one has others', () => {
  expect(addressPlan('forkyard-a')).toEqual(addressPlan('forkyard-a'))
  const [a, b] = [addressPlan('forkyard-a'), addressPlan('forkyard-b')]
  expect(a.prefix).not.toBe(b.prefix)
  expect(a.gateway6).not.toEqual(b.gateway6)
})

it.each([0, 1, 511, 1023])(
  'every slot of block %s has addresses of its own, within the plan, and a name that fits',
  (block) => {
    const plan = addressPlan('forkyard-a', block)
    const slots = [1, 2, 253, 254, 255, 256, maxSlots].map((number) => slotAddresses(plan, number))
    const texts = slots.flatMap(({ v4, v6 }) => [formatAddress(v4), formatAddress(v6)])
    expect(new Set(texts).size).toBe(texts.length)
    for (const { v4, v6, name, mac, hostMac } of slots) {
      expect(overlaps({ bytes: v4, bits: 32 }, plan.subnet4)).toBe(true)
      expect(overlaps({ bytes: v6, bits: 128 }, plan.subnet6)).toBe(true)
      expect(overlaps({ bytes: v4, bits: 32 }, networkOf('100.64.0.0/10') ?? plan.subnet6)).toBe(true)
      expect(name.length).toBeLessThanOrEqual(15)
      expect(v4.every((byte) => byte >= 0 && byte <= 255)).toBe(true)
      // Unicast, and locally administered.
      for (const [first = 0] of [mac, hostMac]) expect(first & 3).toBe(2)
    }
    expect(texts).not.toContain(formatAddress(plan.gateway4))
  },
)

it('blocks do not overlap', () => {
  const [a, b] = [addressPlan('x', 7).subnet4, addressPlan('x', 8).subnet4]
  expect(overlaps(a, b)).toBe(false)
  expect(overlaps(a, { bytes: [100, 64, 0, 0], bits: 10 })).toBe(true)
})

it('addresses are written so that they are read as the same', () => {
  for (const text of ['192.0.2.1', '2001:db8::1', '::1']) {
    const bytes = parseCidr(text)?.bytes ?? []
    expect(parseCidr(formatAddress(bytes))?.bytes).toEqual(bytes)
  }
})
