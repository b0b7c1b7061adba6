import type { Command } from 'commander'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { CliError } from '../cli-error.ts'
import { findConnection, type Connection } from '../connection.ts'
import { signedFetch } from '../signed-fetch.ts'
import { print, table } from '../terminal.ts'

/** The part of `GET /forkyard/v1/status` that the table shows; the nodes are as the scheduler lists them. */
const Status = Type.Object({
  nodes: Type.Array(
    Type.Object({
      nodeId: Type.String(),
      accepting: Type.Boolean(),
      cordoned: Type.Boolean(),
      cordon: Type.Optional(Type.Object({ by: Type.String(), reason: Type.String() })),
      unfit: Type.Optional(Type.String()),
      usedMemoryMiB: Type.Integer(),
      cacheMiB: Type.Integer(),
      capacity: Type.Object({ memoryMiB: Type.Integer(), instances: Type.Integer() }),
      instances: Type.Array(Type.Object({ state: Type.String() })),
    }),
  ),
  starts: Type.Array(
    Type.Object({
      startType: Type.String(),
      count: Type.Integer(),
      p50Ms: Type.Number(),
      p90Ms: Type.Number(),
      p99Ms: Type.Number(),
    }),
  ),
})

const startColumns = ['START TYPE', 'ANSWERS', 'P50 MS', 'P90 MS', 'P99 MS']
const startRow = ({ startType, count, p50Ms, p90Ms, p99Ms }: Static<typeof Status>['starts'][number]): string[] => [
  startType,
  String(count),
  ...[p50Ms, p90Ms, p99Ms].map((ms) => ms.toFixed(1)),
]

export const readStatus = async (connection: Connection): Promise<Static<typeof Status>> =>
  Value.Parse(Status, await (await signedFetch(connection, { path: '/forkyard/v1/status' })).json())

const remarkOn = ({ nodeId, cordon, unfit }: Static<typeof Status>['nodes'][number]): string[] => [
  ...(cordon
    ? [`${nodeId}: cordoned by ${cordon.by === 'platform' ? 'itself' : 'an operator'}: ${cordon.reason}`]
    : []),
  ...(unfit === undefined ? [] : [`${nodeId}: ${unfit}; not cordoned, because it is the last of its pool`]),
]

export const addStatus = (program: Command): void => {
  program
    .command('status')
    .description('show whether the platform is ready, its nodes and instances')
    .option('--json', 'print as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const connection = findConnection(process.env)
      const ready = await fetch(new URL('/readyz', connection.endpoint))
      const readiness = (await ready.json()) as { status: string; missing?: string }
      const status = await readStatus(connection)
      if (json) print(JSON.stringify({ endpoint: connection.endpoint, ...readiness, ...status }))
      else {
        print(`${connection.endpoint}  ${readiness.status}${readiness.missing ? ` (${readiness.missing})` : ''}`)
        const rows = status.nodes.map(
          ({ nodeId, accepting, cordoned, usedMemoryMiB, cacheMiB, capacity, instances }) => [
            nodeId,
            cordoned ? 'cordoned' : accepting ? 'accepting' : 'closed',
            `${usedMemoryMiB} / ${capacity.memoryMiB} MiB`,
            `${cacheMiB} MiB`,
            `${instances.length} / ${capacity.instances}`,
            String(instances.filter(({ state }) => state === 'busy').length),
          ],
        )
        const remarks = status.nodes.flatMap(remarkOn)
        print(table(['NODE', 'STATE', 'MEMORY', 'HELD', 'INSTANCES', 'BUSY'], rows))
        if (remarks.length > 0) print(`\n${remarks.join('\n')}`)
        if (status.starts.length > 0) print(`\n${table(startColumns, status.starts.map(startRow))}`)
      }
      if (!ready.ok) throw new CliError(`the gateway is not ready${readiness.missing ? `: ${readiness.missing}` : ''}`)
    })
}
