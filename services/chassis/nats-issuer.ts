/** The key with which an installation says who its users in NATS are, as NATS writes keys (nkeys) and claims (JWT, `ed25519-nkey`). */
import { randomUUID, sign } from 'node:crypto'
import { privateKeyOf, publicKeyOf } from './signing.ts'

/** First byte of an account's public key: its text begins with A. */
const accountPrefix = 0
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** RFC 4648 without padding. */
const base32 = (bytes: Buffer): string => {
  let [text, bits, count] = ['', 0, 0]
  for (const byte of bytes) {
    bits = ((bits << 8) | byte) & 0xffff
    for (count += 8; count >= 5; count -= 5) text += alphabet[(bits >> (count - 5)) & 31]
  }
  return count > 0 ? text + alphabet[(bits << (5 - count)) & 31] : text
}

/** CRC-16/XMODEM. */
const crc16 = (bytes: Buffer): number => {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc
}

/** @param seed 32 bytes, hex @returns the public key of the account that it is the secret of, as a server's configuration names it */
export const issuerKey = (seed: string): string => {
  const body = Buffer.concat([Buffer.from([accountPrefix]), Buffer.from(publicKeyOf(seed), 'hex')])
  const sum = Buffer.alloc(2)
  sum.writeUInt16LE(crc16(body))
  return base32(Buffer.concat([body, sum]))
}

export interface NatsClaims {
  /** Public key that the claims are about. */
  readonly sub: string
  /** Who is to take them. */
  readonly aud: string
  /** Epoch seconds. */
  readonly exp?: number
  readonly name?: string
  readonly nats: object
}

export interface NatsIssuer {
  /** Signed claims. */
  issue(claims: NatsClaims): string
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export const createNatsIssuer = (seed: string): NatsIssuer => {
  const key = privateKeyOf(seed)
  const iss = issuerKey(seed)
  return {
    issue: (claims) => {
      const iat = Math.floor(Date.now() / 1000)
      const text = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part({ jti: randomUUID(), iat, iss, ...claims })}`
      return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`
    },
  }
}

/** What claims say, unchecked: for those that came from the server itself. */
export const claimsOf = (text: string): unknown => {
  try {
    return JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString())
  } catch {
    return undefined
  }
}
