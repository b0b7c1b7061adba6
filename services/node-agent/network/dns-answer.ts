/** Pure: what a function may ask, and what of an answer opens addresses. */
import { Buffer } from 'node:buffer'
import { decode, encode, TRUNCATED_RESPONSE, type Packet } from 'dns-packet'
import { matchesName, parseCidr, type NetworkPolicy } from '../../contracts/network.ts'

export interface Question {
  readonly id: number
  readonly name: string
  readonly type: string
  /** What fits into an answer over UDP, in bytes. */
  readonly udpBytes: number
  readonly packet: Packet
}

const smallestUdpBytes = 512
/** What passes everywhere in one piece (DNS flag day 2020). */
const largestUdpBytes = 1232

/** Undefined for what is no question that could be answered. */
export const readQuestion = (message: Buffer): Question | undefined => {
  const packet = tryDecode(message)
  const [question, ...more] = packet?.questions ?? []
  if (!packet || packet.type !== 'query' || packet.opcode !== 'QUERY' || !question || more.length > 0) return undefined
  if (packet.id === undefined || (question.class ?? 'IN') !== 'IN') return undefined
  const edns = packet.additionals?.find((record) => record.type === 'OPT')
  const offered = edns && 'udpPayloadSize' in edns ? edns.udpPayloadSize : smallestUdpBytes
  const udpBytes = Math.min(Math.max(offered, smallestUdpBytes), largestUdpBytes)
  return { id: packet.id, name: question.name, type: question.type, udpBytes, packet }
}

/** Undefined when it is not well-formed. */
export const tryDecode = (message: Buffer): (Packet & { opcode?: string; rcode?: string }) | undefined => {
  try {
    return decode(message)
  } catch {
    return undefined
  }
}

/** A name of a rule may be resolved because it may be reached; a rule that denies it wins. */
export const mayResolve = ({ rules, dns = [] }: NetworkPolicy, name: string): boolean => {
  const named = rules.filter((rule) => rule.name !== undefined && matchesName(rule.name, name))
  if (named.some(({ action }) => action === 'deny')) return false
  return named.length > 0 || dns.some((pattern) => matchesName(pattern, name))
}

export interface Resolved {
  /** 4 or 16 bytes. */
  readonly bytes: readonly number[]
  readonly text: string
  readonly ttlSeconds: number
}

const sameName = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()

/** Addresses of the name itself, or of what it is an alias for. Other records of the answer say nothing about it. */
export const addressesOf = (answer: Packet, asked: string): Resolved[] => {
  const answers = answer.answers ?? []
  const names = [asked]
  // Aliases come in any order; each turn follows one.
  for (let turn = 0; turn < answers.length; turn++)
    for (const record of answers)
      if (
        record.type === 'CNAME' &&
        names.some((name) => sameName(name, record.name)) &&
        !names.some((name) => sameName(name, record.data))
      )
        names.push(record.data)
  return answers.flatMap((record) => {
    if (record.type !== 'A' && record.type !== 'AAAA') return []
    if (!names.some((name) => sameName(name, record.name))) return []
    const address = parseCidr(record.data)
    if (!address) return []
    return [{ bytes: address.bytes, text: record.data, ttlSeconds: record.ttl ?? 0 }]
  })
}

export type Refusal = 'NXDOMAIN' | 'SERVFAIL' | 'FORMERR' | 'REFUSED'
const codes: Readonly<Record<Refusal, number>> = { FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 }
const recursionAvailable = 128

export const refusalOf = ({ id, packet }: Question, why: Refusal): Buffer =>
  encode({ id, type: 'response', flags: recursionAvailable | codes[why], questions: packet.questions ?? [] })

/** Over UDP: the asker comes again over TCP. */
export const truncated = ({ id, packet }: Question): Buffer =>
  encode({ id, type: 'response', flags: recursionAvailable | TRUNCATED_RESPONSE, questions: packet.questions ?? [] })

/** The answer as it came, to the asker's own question. */
export const withId = (answer: Buffer, id: number): Buffer => {
  const copy = Buffer.from(answer)
  copy.writeUInt16BE(id, 0)
  return copy
}

/** Short: it is this node's own, and may be another after a change. */
const ownTtlSeconds = 5

/** A name that has this IPv4 address, and nothing else. */
export const ownAnswer = ({ id, name, type, packet }: Question, address: string): Buffer =>
  encode({
    id,
    type: 'response',
    flags: recursionAvailable,
    questions: packet.questions ?? [],
    answers: type === 'A' ? [{ type: 'A', name, ttl: ownTtlSeconds, data: address }] : [],
  })
