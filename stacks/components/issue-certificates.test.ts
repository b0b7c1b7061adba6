import { X509Certificate, createPrivateKey } from 'node:crypto'
import { expect, it } from 'vitest'
import { issueCertificates, type CertificateInputs } from './issue-certificates.ts'

const day = 24 * 3_600_000
const now = Date.now()
const inputs: CertificateInputs = {
  subjects: { a: { names: ['nats', 'scheduler'], addresses: ['10.0.0.1', 'fd00::1'] } },
  days: 90,
}
const first = issueCertificates(inputs, undefined, now)

it('a certificate is of the authority, for its names and addresses, and of its key', () => {
  const { cert = '', key = '' } = first.certificates['a'] ?? {}
  const x509 = new X509Certificate(cert)
  const authority = new X509Certificate(first.authority.cert)
  expect(x509.verify(authority.publicKey)).toBe(true)
  expect(x509.checkIssued(authority)).toBe(true)
  expect([
    x509.checkHost('nats'),
    x509.checkHost('node-agent'),
    x509.checkIP('10.0.0.1'),
    x509.checkIP('fd00::1'),
  ]).toEqual(['nats', undefined, '10.0.0.1', 'fd00::1'])
  expect(x509.checkPrivateKey(createPrivateKey(key))).toBe(true)
  expect([x509.ca, authority.ca]).toEqual([false, true])
  expect(Math.abs(x509.validToDate.getTime() - (now + 90 * day))).toBeLessThan(day)
})

it('another subject gets one, and the others keep theirs', () => {
  const subjects = { ...inputs.subjects, b: { names: ['node-agent'], addresses: ['10.0.0.2'] } }
  const next = issueCertificates({ ...inputs, subjects }, first, now)
  expect(next.authority).toEqual(first.authority)
  expect(next.certificates['a']).toEqual(first.certificates['a'])
  expect(next.certificates['b']?.cert).toContain('BEGIN CERTIFICATE')
})

it('it is made anew in the last third of its life, and not before, and when its names change', () => {
  const at = (days: number, changed = inputs) => issueCertificates(changed, first, now + days * day).certificates['a']
  expect(at(59)).toEqual(first.certificates['a'])
  expect(at(61)).not.toEqual(first.certificates['a'])
  expect(at(0, { ...inputs, subjects: { a: { names: ['nats'], addresses: [] } } })).not.toEqual(first.certificates['a'])
})

const kept = (days: number) => Object.keys(issueCertificates(inputs, first, now + days * day, true).certificates)

it('a dry run issues nothing: what holds is all that it returns', () => {
  expect([kept(1), kept(80)]).toEqual([['a'], []])
})
