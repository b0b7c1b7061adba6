import type { Command } from 'commander'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { CliError } from '../cli-error.ts'
import { findConnection } from '../connection.ts'
import { signedFetch } from '../signed-fetch.ts'
import { print, table } from '../terminal.ts'

/** The part of `GET /forkyard/v1/status` that the table shows; the nodes are as the scheduler lists them. */
const Status = Type.Object({
  nodes: Type.Array(
    Type.Object({
      nodeId: Type.String(),
      accepting: Type.Boolean(),
      cordoned: Type.Boolean(),
      usedMemoryMiB: Type.Integer(),
      capacity: Type.Object({ memoryMiB: Type.Integer(), instances: Type.Integer() }),
      instances: Type.Array(Type.Object({ state: Type.String() })),
    }),
  ),
})

export const addStatus = (program: Command): void => {
  program
    .command('status')
    .description('show whether the platform is ready, its nodes and instances')
    .option('--json', 'print as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const connection = findConnection(process.env)
      const ready = await fetch(new URL('/readyz', connection.endpoint))
      const readiness = (await ready.json()) as { status: string; missing?: string }
      const response = await signedFetch(connection, { path: '/forkyard/v1/status' })
      const status = Value.Parse(Status, await response.json())
      if (json) print(JSON.stringify({ endpoint: connection.endpoint, ...readiness, ...status }))
      else {
        print(`${connection.endpoint}  ${readiness.status}${readiness.missing ? ` (${readiness.missing})` : ''}`)
        const rows = status.nodes.map(({ nodeId, accepting, cordoned, usedMemoryMiB, capacity, instances }) => [
          nodeId,
          cordoned ? 'cordoned' : accepting ? 'accepting' : 'closed',
          `${usedMemoryMiB} / ${capacity.memoryMiB} MiB`,
          `${instances.length} / ${capacity.instances}`,
          String(instances.filter(({ state }) => state === 'busy').length),
        ])
        print(table(['NODE', 'STATE', 'MEMORY', 'INSTANCES', 'BUSY'], rows))
      }
      if (!ready.ok) throw new CliError(`the gateway is not ready${readiness.missing ? `: ${readiness.missing}` : ''}`)
    })
}
