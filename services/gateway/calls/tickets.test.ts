import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Ticket } from '../../contracts/calls.ts'
import { createTickets } from './tickets.ts'

const keyOf = (id: string) => ({ id, seed: id.charCodeAt(0).toString(16).padEnd(64, '0') })
const tickets = createTickets([keyOf('b'), keyOf('a')])
const ticket: Ticket = { tenant: 't', name: 'f', version: '3', invocationId: 'i', deadlineAt: 1000, hops: 2 }

describe('a ticket', () => {
  it('says what it was made of, until its deadline and no longer', () => {
    const text = tickets.issue(ticket)
    expect(tickets.check(text, 1000)).toEqual(ticket)
    expect(() => tickets.check(text, 1001)).toThrow('is over')
  })

  it('of the key before is good, of the one that follows and of another installation is not', () => {
    expect(tickets.check(createTickets([keyOf('a')]).issue(ticket), 0)).toEqual(ticket)
    expect(() => tickets.check(createTickets([keyOf('c')]).issue(ticket), 0)).toThrow('no ticket')
    const foreign = createTickets([{ id: 'b', seed: 'f'.repeat(64) }]).issue(ticket)
    expect(() => tickets.check(foreign, 0)).toThrow('no ticket')
  })

  it('that was changed anywhere is none', () => {
    const text = tickets.issue(ticket)
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, other) => {
        const changed = text.slice(0, at) + other + text.slice(at + 1)
        // The last sign of base64 has bits that mean nothing.
        fc.pre(at < text.length - 1 && changed !== text)
        expect(() => tickets.check(changed, 0)).toThrow('no ticket')
      }),
    )
  })

  it.each(['', '.', 't1', 't1.b', 't1.b.e30', 't1.b.e30.', 't1.__proto__.e30.AA'])('is not %s', (text) =>
    expect(() => tickets.check(text, 0)).toThrow('no ticket'),
  )

  it('for somebody else does not come of its parts', () => {
    const [head, id, , mac] = tickets.issue(ticket).split('.')
    const payload = Buffer.from(JSON.stringify({ ...ticket, name: 'other', hops: 0 })).toString('base64url')
    expect(() => tickets.check([head, id, payload, mac].join('.'), 0)).toThrow('no ticket')
  })
})
