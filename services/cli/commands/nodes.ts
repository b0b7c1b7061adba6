/** Nodes are cordoned, drained and uncordoned by operators. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { CliError } from '../cli-error.ts'
import { findConnection, type Connection } from '../connection.ts'
import { parseDuration } from '../duration.ts'
import { signedFetch } from '../signed-fetch.ts'
import { note, print } from '../terminal.ts'
import { readStatus } from './status.ts'

const tell = (connection: Connection, node: string, action: string, reason?: string): Promise<Response> =>
  signedFetch(connection, {
    method: 'POST',
    path: `/forkyard/v1/nodes/${encodeURIComponent(node)}/${action}`,
    body: reason === undefined ? {} : { reason },
  })

const pollMs = 500

/** @throws CliError when `timeoutMs` passes */
const untilEmpty = async (connection: Connection, node: string, timeoutMs: number): Promise<void> => {
  const until = performance.now() + timeoutMs
  for (;;) {
    const found = (await readStatus(connection)).nodes.find(({ nodeId }) => nodeId === node)
    // A node that reports no more has nothing.
    const left = found?.instances.length ?? 0
    if (left === 0) return
    if (performance.now() > until) throw new CliError(`${node} still has ${left} instances`)
    note(`${node}: ${left} instances left`)
    await delay(pollMs)
  }
}

const reasonOption = ['--reason <text>', 'why; shown by status'] as const

export const addNodes = (program: Command): void => {
  program
    .command('cordon')
    .description('give a node nothing new; it keeps what it has')
    .argument('<node>', 'as status lists it')
    .option(...reasonOption)
    .action(async (node: string, { reason }: { reason?: string }) => {
      await tell(findConnection(process.env), node, 'cordon', reason)
      print(`${node} is cordoned`)
    })
  program
    .command('drain')
    .description('cordon a node, end its instances, and wait until none is left')
    .argument('<node>', 'as status lists it')
    .option(...reasonOption)
    .option('--timeout <duration>', 'how long to wait, as 30s, 10m, 2h', parseDuration, 900_000)
    .action(async (node: string, { reason, timeout }: { reason?: string; timeout: number }) => {
      const connection = findConnection(process.env)
      await tell(connection, node, 'drain', reason)
      await untilEmpty(connection, node, timeout)
      print(`${node} is drained`)
    })
  program
    .command('uncordon')
    .description('give a node work again')
    .argument('<node>', 'as status lists it')
    .action(async (node: string) => {
      await tell(findConnection(process.env), node, 'uncordon')
      print(`${node} is uncordoned`)
    })
}
