import type { Command } from 'commander'
import { Value } from 'typebox/value'
import { LogRecord } from '../../contracts/usage.ts'
import { addRecords } from './records.ts'

export const addLogs = (program: Command): void =>
  addRecords(program, {
    command: 'logs',
    description: 'print a function’s log',
    of: 'logs',
    format: (line) => formatRecord(Value.Parse(LogRecord, line)),
  })

export const formatRecord = ({ at, version, stream, line }: LogRecord): string =>
  `${new Date(at).toISOString()} ${version.padEnd(7)} ${stream.padEnd(8)} ${line}`
