import { expect, it } from 'vitest'
import { checkProject } from '../project-file.ts'
import { formatAudit } from './audit.ts'

const who = {
  at: 0,
  tenant: 'default',
  name: 'f',
  version: '3',
  nodeId: 'n-1',
  instanceId: 'i1',
}

it('a flow is one line: who, the verdict and why, the other side', () => {
  const flow = { kind: 'flow', ...who, protocol: 'tcp', localPort: 9000, remotePort: 443 } as const
  expect(
    formatAudit({
      ...flow,
      verdict: 'allowed',
      reason: '',
      direction: 'egress',
      remoteAddress: '192.0.2.1',
      invocationId: 'id-1',
    }),
  ).toBe('1970-01-01T00:00:00.000Z 3       i1 allowed   tcp to 192.0.2.1:443  id-1')
  expect(
    formatAudit({ ...flow, verdict: 'denied', reason: 'default', direction: 'ingress', remoteAddress: '2001:db8::1' }),
  ).toBe('1970-01-01T00:00:00.000Z 3       i1 denied    tcp from [2001:db8::1]:443 to port 9000 (default)')
})

it('a call on a socket is one line: what it was for, and why it failed', () => {
  const call = {
    kind: 'socket',
    ...who,
    verdict: 'done',
    operation: 'listen',
    errno: 0,
    address: '::',
    port: 9000,
  } as const
  expect(formatAudit(call)).toBe('1970-01-01T00:00:00.000Z 3       i1 done      listen [::]:9000')
  expect(formatAudit({ ...call, verdict: 'failed', operation: 'bind', errno: 98 })).toBe(
    '1970-01-01T00:00:00.000Z 3       i1 failed    bind [::]:9000 (error 98)',
  )
  const { address: _address, port: _port, ...accepted } = call
  expect(formatAudit({ ...accepted, operation: 'accept' })).toBe('1970-01-01T00:00:00.000Z 3       i1 done      accept')
})

it('a question is one line with its answer', () => {
  expect(
    formatAudit({
      kind: 'dns',
      ...who,
      verdict: 'answered',
      question: 'a.test',
      type: 'A',
      addresses: ['192.0.2.1', '192.0.2.2'],
    }),
  ).toBe('1970-01-01T00:00:00.000Z 3       i1 answered  dns A a.test = 192.0.2.1, 192.0.2.2')
})

it('a policy in forkyard.json is checked before anything is sent', () => {
  const rule = { action: 'allow', protocol: 'tcp', cidr: '192.0.2.0/24' }
  expect(checkProject({ network: { rules: [rule] } }, 'forkyard.json')).toEqual({ network: { rules: [rule] } })
  expect(checkProject({ network: null }, 'forkyard.json')).toEqual({ network: null })
  expect(() => checkProject({ network: { rules: [{ ...rule, action: 'maybe' }] } }, 'forkyard.json')).toThrow('network')
})
