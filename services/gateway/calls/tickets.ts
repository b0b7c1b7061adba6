/**
 * Tickets of invocations (`contracts/calls.ts`), made and checked by gateways: an HMAC over what they say, under keys that follow from those that
 * sign the registry's entries. All gateways have these; nodes have only their public halves, from which nothing follows.
 */
import { createHmac, hkdfSync, type KeyObject, createSecretKey } from 'node:crypto'
import { Compile } from 'typebox/compile'
import { equalSecrets } from '../../chassis/equal-secrets.ts'
import type { SigningKeys } from '../../chassis/signing.ts'
import { Ticket, ticketPayload } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'

export interface Tickets {
  issue(ticket: Ticket): string
  /** @throws PlatformError FORBIDDEN: it is none of this installation's, or its time is over. */
  check(text: string, now: number): Ticket
}

const format = 't1'
const schema = Compile(Ticket)

/** @param keys as for entries: the first makes tickets, those of all are good. */
export const createTickets = (keys: SigningKeys): Tickets => {
  const byId = new Map(keys.map(({ id, seed }) => [id, ticketKey(seed)]))
  const [current] = keys
  const currentKey = current && byId.get(current.id)
  if (!current || !currentKey) throw new Error('there is no key for tickets')
  return {
    issue: (ticket) => {
      const signed = `${format}.${current.id}.${Buffer.from(JSON.stringify(ticket)).toString('base64url')}`
      return `${signed}.${macOf(currentKey, signed).toString('base64url')}`
    },
    check: (text, now) => {
      const at = text.lastIndexOf('.')
      const [kind, id = ''] = text.split('.')
      const key = byId.get(id)
      const given = Buffer.from(text.slice(at + 1), 'base64url')
      const wanted = key && macOf(key, text.slice(0, Math.max(0, at)))
      if (kind !== format || !wanted || !equalSecrets(given, wanted))
        throw new PlatformError('FORBIDDEN', 'the call shows no ticket of this installation')
      const ticket = schema.Parse(ticketPayload(text))
      if (now <= ticket.deadlineAt) return ticket
      throw new PlatformError('FORBIDDEN', 'the invocation in whose name the call is made is over')
    },
  }
}

/** Of this use alone: what signs entries must sign nothing else. */
const ticketKey = (seed: string): KeyObject =>
  createSecretKey(Buffer.from(hkdfSync('sha256', Buffer.from(seed, 'hex'), '', 'forkyard tickets of invocations', 32)))

const macOf = (key: KeyObject, text: string): Buffer => createHmac('sha256', key).update(text).digest()
