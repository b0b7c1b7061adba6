/** Machines that become nodes by a token: which may, which have, and which are nodes no longer. */
import type { Command } from 'commander'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { findConnection } from '../connection.ts'
import { gatherVariable, parseDuration } from '../duration.ts'
import { signedFetch } from '../signed-fetch.ts'
import { note, print, table } from '../terminal.ts'

const Made = Type.Object({ token: Type.String(), tokenId: Type.String(), expiresAt: Type.String() })
const Joined = Type.Object({
  nodeId: Type.String(),
  url: Type.String(),
  pool: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  joinedAt: Type.String(),
  by: Type.String(),
})
const List = Type.Object({ nodes: Type.Array(Joined) })

interface TokenFlags {
  readonly ttl: number
  readonly pool?: string
  readonly label?: Record<string, string>
  readonly json?: boolean
}

const makeToken = async ({ ttl, pool, label, json }: TokenFlags): Promise<void> => {
  const body = {
    ttlSeconds: Math.round(ttl / 1000),
    ...(pool === undefined ? {} : { pool }),
    ...(label === undefined ? {} : { labels: label }),
  }
  const reply = await signedFetch(findConnection(process.env), {
    method: 'POST',
    path: '/forkyard/v1/node-tokens',
    body,
  })
  const made = Value.Parse(Made, await reply.json())
  if (json) return print(JSON.stringify(made))
  print(made.token)
  note(`good for one node until ${made.expiresAt}; whoever has it until then can be that node`)
}

const list = async (json: boolean | undefined): Promise<void> => {
  const reply = await signedFetch(findConnection(process.env), { path: '/forkyard/v1/joined-nodes' })
  const { nodes }: Static<typeof List> = Value.Parse(List, await reply.json())
  if (json) return print(JSON.stringify(nodes))
  const rows = nodes.map(({ nodeId, pool, url, joinedAt, by }) => [nodeId, pool, url, joinedAt, by])
  print(table(['NODE', 'POOL', 'URL', 'JOINED', 'BY'], rows))
}

export const addJoining = (program: Command): void => {
  const node = program.command('node').description('machines that join as nodes by a token')
  node
    .command('token')
    .description('make a token with which one machine may join (forkyard-node join)')
    .option('--ttl <duration>', 'how long it is good, as 10m, 2h: 1m to 1d', parseDuration, 600_000)
    .option('--pool <name>', 'pool of the node that joins with it')
    .option('--label <name=value>', 'label of that node; may be repeated', gatherVariable)
    .option('--json', 'as JSON')
    .action(makeToken)
  node
    .command('list')
    .description('nodes that joined by a token')
    .option('--json', 'as JSON')
    .action(async ({ json }: { json?: boolean }) => list(json))
  node
    .command('remove')
    .description('drain a node that joined, if it can be told, and deal with it no longer')
    .argument('<node>', 'as list shows it')
    .action(async (nodeId: string) => {
      const path = `/forkyard/v1/joined-nodes/${encodeURIComponent(nodeId)}`
      await signedFetch(findConnection(process.env), { method: 'DELETE', path })
      print(`${nodeId} is removed; on its machine: forkyard-node leave`)
    })
}
