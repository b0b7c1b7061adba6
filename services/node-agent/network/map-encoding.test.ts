/** The bytes here are those that `filter/layout.h` says: sizes are held against a compiler's. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseCidr } from '../../contracts/network.ts'
import { compilePolicy } from './compile-policy.ts'
import {
  entriesOf,
  eventBytes,
  guardEntries,
  pinEntry,
  portEntries,
  readEvent,
  ruleEntries,
  slotValue,
} from './map-encoding.ts'

const slot = { lease: 1, policy: 2, v4: [10, 0, 0, 1], v6: Array<number>(16).fill(7), mac: [2, 0, 0, 0, 0, 1] }
const policy = compilePolicy({ rules: [{ action: 'allow', protocol: 'tcp', cidr: '10.0.0.0/8', ports: ['80-81'] }] })
const rules = ruleEntries(policy, 5, 9)
const ports = entriesOf(portEntries(policy.sets[0] ?? [], 9))
const [pinKey, pinValue] = pinEntry(5, [10, 0, 0, 1], 9, 1n)
const guards = guardEntries([{ family: 4, bytes: [127, 0, 0, 0], bits: 8, kind: 'exact', ports: [4222] }])

it('every record has the size that the filter expects', () => {
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-layout-'))
  try {
    const names = [
      'slot',
      'rule_key',
      'rule_value',
      'port_key',
      'pin_key',
      'pin_value',
      'guard_key',
      'guard_value',
      'event',
    ]
    const printed = names.map((name) => `printf("%zu ", sizeof(struct ${name}));`).join('')
    const header = join(import.meta.dirname, 'filter', 'layout.h')
    writeFileSync(
      join(dir, 'sizes.c'),
      `#include <stdio.h>\n#include "${header}"\nint main(void) { ${printed} return 0; }\n`,
    )
    execFileSync('gcc', [join(dir, 'sizes.c'), '-o', join(dir, 'sizes')])
    const sizes = execFileSync(join(dir, 'sizes'), { encoding: 'utf8' }).trim().split(' ').map(Number)
    expect([
      slotValue(slot).length,
      rules.keys.length,
      rules.values.length,
      ports.keys.length,
      pinKey.length,
      pinValue.length,
      guards.keys.length,
      guards.values.length,
      eventBytes,
    ]).toEqual(sizes)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

it('a prefix of IPv4 lies in the mapped range of its key, behind policy, direction and family', () => {
  const address = `${'00'.repeat(10)}ffff0a000000`
  expect(rules.keys.toString('hex')).toBe(`a8000000 05000000 01040000 ${address}`.replaceAll(' ', ''))
  expect(rules.values.toString('hex')).toBe('0900000000000000')
})

it('ports are a prefix behind set and protocol', () => {
  expect(ports.keys.toString('hex')).toBe('3f000000 09000000 0600 0050'.replaceAll(' ', ''))
  expect(ports.values.toString('hex')).toBe('01000000')
})

it('limits are a bucket of a second, large enough for one segment', () => {
  const limited = slotValue({ ...slot, bytesPerSecond: 65_536, flowsPerSecond: 3 })
  expect([limited.readBigUInt64LE(48), limited.readBigUInt64LE(56), limited.readUInt32LE(64)]).toEqual([
    65_536n,
    131_072n,
    3,
  ])
})

it('an event is read as the filter wrote it', () => {
  const bytes = Buffer.alloc(eventBytes)
  bytes.writeBigUInt64LE(77n, 0)
  bytes.writeUInt32LE(3, 8)
  bytes.set([2, 1, 17, 2], 16)
  bytes.writeUInt16BE(1234, 20)
  bytes.writeUInt16BE(53, 22)
  bytes.set(parseCidr('2001:db8::1')?.bytes ?? [], 24)
  bytes[44] = 6
  expect(readEvent(bytes)).toMatchObject({
    at: 77n,
    lease: 3,
    kind: 'denied',
    reason: 'rule',
    direction: 'egress',
    protocol: 17,
    localPort: 1234,
    remotePort: 53,
    family: 6,
  })
})
