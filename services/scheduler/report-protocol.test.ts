import { headers } from '@nats-io/transport-node'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { protocolHeader, protocolVersion } from '../contracts/protocol.ts'
import { createReportFilter } from './report-protocol.ts'

const from = (subject: string, spoken?: number) => {
  const said = headers()
  if (spoken !== undefined) said.set(protocolHeader, String(spoken))
  return { subject, headers: said }
}

it('a node that is too far away is not read, and logged once until it is understood', () => {
  const lines: string[] = []
  const accepts = createReportFilter(pino({}, { write: (line: string) => void lines.push(line) }))
  const far = protocolVersion + 2
  expect([accepts(from('node.a.report')), accepts({ subject: 'node.a.report', headers: undefined as never })]).toEqual([
    true,
    true,
  ])
  expect([1, 2, 3].map(() => accepts(from('node.b.report', far)))).toEqual([false, false, false])
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/UNSUPPORTED_PROTOCOL.*node\.b\.report/)
  expect(accepts(from('node.b.report', protocolVersion + 1))).toBe(true)
  expect(accepts(from('node.b.report', far))).toBe(false)
  expect(lines).toHaveLength(2)
})
