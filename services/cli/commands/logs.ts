import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import type { Command } from 'commander'
import { Value } from 'typebox/value'
import { LogRecord } from '../../contracts/usage.ts'
import { findConnection } from '../connection.ts'
import { parseDuration } from '../duration.ts'
import { signedFetch } from '../signed-fetch.ts'
import { print } from '../terminal.ts'

interface Flags {
  follow?: boolean
  since: number
  json?: boolean
}

export const addLogs = (program: Command): void => {
  program
    .command('logs')
    .description('print a function’s log')
    .argument('<name>', 'function name')
    .option('-f, --follow', 'go on until interrupted')
    .option('--since <duration>', 'how far back, as 30s, 10m, 2h', parseDuration, 600_000)
    .option('--json', 'print records as they are')
    .action(async (name: string, { follow, since, json }: Flags) => {
      const response = await signedFetch(findConnection(process.env), {
        path: `/forkyard/v1/functions/${encodeURIComponent(name)}/logs`,
        query: { since: String(Date.now() - since), ...(follow ? { follow: 'true' } : {}) },
      })
      if (!response.body) return
      // One record a line.
      for await (const line of createInterface({ input: Readable.fromWeb(response.body) })) {
        if (line === '') continue
        print(json ? line : formatRecord(Value.Parse(LogRecord, JSON.parse(line))))
      }
    })
}

export const formatRecord = ({ at, version, stream, line }: LogRecord): string =>
  `${new Date(at).toISOString()} ${version.padEnd(7)} ${stream.padEnd(8)} ${line}`
