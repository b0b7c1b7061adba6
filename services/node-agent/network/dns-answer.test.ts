import { encode, type Packet } from 'dns-packet'
import { assert, property, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NetworkPolicy } from '../../contracts/network.ts'
import { addressesOf, mayResolve, readQuestion, refusalOf, truncated, tryDecode, withId } from './dns-answer.ts'

const ask = (packet: Partial<Packet> = {}): Buffer =>
  encode({ type: 'query', id: 7, flags: 256, questions: [{ type: 'A', name: 'a.test', class: 'IN' }], ...packet })

describe('a question', () => {
  it('is one name, of the internet', () => {
    expect(readQuestion(ask())).toMatchObject({ id: 7, name: 'a.test', type: 'A', udpBytes: 512 })
    const two = [1, 2].map((n) => ({ type: 'A' as const, name: `a${n}.test`, class: 'IN' as const }))
    expect(readQuestion(ask({ questions: two }))).toBe(undefined)
    expect(readQuestion(ask({ questions: [] }))).toBe(undefined)
    expect(readQuestion(ask({ questions: [{ type: 'TXT', name: 'version.bind', class: 'CH' }] }))).toBe(undefined)
    expect(readQuestion(ask({ type: 'response' }))).toBe(undefined)
  })

  it('that is no question at all harms nobody', () => {
    assert(property(uint8Array({ maxLength: 600 }), (bytes) => void readQuestion(Buffer.from(bytes))))
  })

  it('is refused, and cut short, under its own number', () => {
    const question = readQuestion(ask())
    if (!question) throw new Error('no question')
    expect(tryDecode(refusalOf(question, 'NXDOMAIN'))).toMatchObject({ id: 7, type: 'response', rcode: 'NXDOMAIN' })
    expect(tryDecode(truncated(question))).toMatchObject({ id: 7, flag_tc: true })
    expect(tryDecode(withId(refusalOf(question, 'SERVFAIL'), 9))).toMatchObject({ id: 9, rcode: 'SERVFAIL' })
  })
})

describe('a name', () => {
  const policy: NetworkPolicy = {
    rules: [
      { action: 'allow', protocol: 'tcp', name: '*.example.com' },
      { action: 'deny', protocol: 'any', name: 'bad.example.com' },
      { action: 'allow', protocol: 'tcp', cidr: '0.0.0.0/0' },
    ],
    dns: ['*.internal'],
  }
  it.each([
    ['a.example.com', true],
    ['bad.example.com', false],
    ['example.com', false],
    ['db.internal', true],
    ['other.test', false],
  ])('%s may be asked for: %s', (name, allowed) => {
    expect(mayResolve(policy, name)).toBe(allowed)
  })
})

const a = (name: string, data: string) => ({ type: 'A' as const, name, ttl: 9, data })

it('what an answer says about other names opens nothing', () => {
  const answers: Packet['answers'] = [
    { type: 'CNAME', name: 'B.test', data: 'c.test' },
    { type: 'CNAME', name: 'a.test', data: 'b.test' },
    a('c.test', '192.0.2.1'),
    a('evil.test', '192.0.2.2'),
    { type: 'AAAA', name: 'a.test', ttl: 1, data: '2001:db8::1' },
    { type: 'AAAA', name: 'a.test', ttl: 1, data: '::ffff:127.0.0.1' },
  ]
  expect(addressesOf({ answers }, 'A.test').map(({ text, ttlSeconds }) => [text, ttlSeconds])).toEqual([
    ['192.0.2.1', 9],
    ['2001:db8::1', 1],
  ])
})
