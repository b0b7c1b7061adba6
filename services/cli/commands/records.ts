/** A command that prints the records of a function, as the gateway streams them: one a line. */
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import type { Command } from 'commander'
import { findConnection } from '../connection.ts'
import { parseDuration } from '../duration.ts'
import { signedFetch } from '../signed-fetch.ts'
import { print } from '../terminal.ts'

export interface RecordsCommand {
  readonly command: string
  readonly description: string
  /** Last part of the path. */
  readonly of: 'logs' | 'audit'
  readonly format: (record: unknown) => string
}

interface Flags {
  follow?: boolean
  since: number
  json?: boolean
}

export const addRecords = (program: Command, { command, description, of, format }: RecordsCommand): void => {
  program
    .command(command)
    .description(description)
    .argument('<name>', 'function name')
    .option('-f, --follow', 'go on until interrupted')
    .option('--since <duration>', 'how far back, as 30s, 10m, 2h', parseDuration, 600_000)
    .option('--json', 'print records as they are')
    .action(async (name: string, { follow, since, json }: Flags) => {
      const response = await signedFetch(findConnection(process.env), {
        path: `/forkyard/v1/functions/${encodeURIComponent(name)}/${of}`,
        query: { since: String(Date.now() - since), ...(follow ? { follow: 'true' } : {}) },
      })
      if (!response.body) return
      for await (const line of createInterface({ input: Readable.fromWeb(response.body) })) {
        if (line === '') continue
        print(json ? line : format(JSON.parse(line)))
      }
    })
}
