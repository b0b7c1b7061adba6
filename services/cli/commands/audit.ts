import type { Command } from 'commander'
import { Value } from 'typebox/value'
import { AuditRecord } from '../../contracts/audit.ts'
import { addRecords } from './records.ts'

export const addAudit = (program: Command): void =>
  addRecords(program, {
    command: 'audit',
    description:
      'print what a function did on the network: flows, allowed and denied, sockets, and names that it asked for',
    of: 'audit',
    format: (line) => formatAudit(Value.Parse(AuditRecord, line)),
  })

export const formatAudit = (record: AuditRecord): string => {
  const { at, version, instanceId, verdict, invocationId = '' } = record
  const head = `${new Date(at).toISOString()} ${version.padEnd(7)} ${instanceId} ${verdict.padEnd(9)}`
  return `${head} ${describe(record)}${invocationId && `  ${invocationId}`}`
}

const describe = (record: AuditRecord): string => {
  if (record.kind === 'dns') return describeQuestion(record)
  if (record.kind === 'flow') return describeFlow(record)
  if (record.kind === 'socket') return describeCall(record)
  return `${record.type} ${record.binding} = ${record.target}`
}

const place = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

const describeCall = ({ operation, address, port, errno }: Extract<AuditRecord, { kind: 'socket' }>): string => {
  const where = address === undefined || port === undefined ? '' : ` ${place(address, port)}`
  return `${operation}${where}${errno === 0 ? '' : ` (error ${errno})`}`
}

const describeQuestion = ({ type, question, addresses }: Extract<AuditRecord, { kind: 'dns' }>): string =>
  `dns ${type} ${question}${addresses.length > 0 ? ` = ${addresses.join(', ')}` : ''}`

const describeFlow = (flow: Extract<AuditRecord, { kind: 'flow' }>): string => {
  const { direction, protocol, localPort, remoteAddress, remotePort, reason } = flow
  const remote = place(remoteAddress, remotePort)
  const way = direction === 'egress' ? `to ${remote}` : `from ${remote} to port ${localPort}`
  return `${protocol} ${way}${reason && ` (${reason})`}`
}
