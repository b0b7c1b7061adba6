import type { Command } from 'commander'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { InstancePolicy } from '../../contracts/function.ts'
import { Explanation } from '../../contracts/placement.ts'
import { findConnection } from '../connection.ts'
import { signedFetch } from '../signed-fetch.ts'
import { print, table } from '../terminal.ts'

const Reply = Type.Object({
  functionName: Type.String(),
  version: Type.String(),
  memoryMiB: Type.Integer(),
  policy: InstancePolicy,
  next: Explanation,
})

export const addExplain = (program: Command): void => {
  program
    .command('explain')
    .description('show what is held for a function, and what its next request would get and why')
    .argument('<name>', 'function name or ARN')
    .option('--qualifier <version>', 'version or alias')
    .option('--json', 'print as JSON')
    .action(async (name: string, { qualifier, json }: { qualifier?: string; json?: boolean }) => {
      const path = `/forkyard/v1/functions/${encodeURIComponent(name)}/explain`
      const query = qualifier === undefined ? {} : { Qualifier: qualifier }
      const reply: unknown = await (await signedFetch(findConnection(process.env), { path, query })).json()
      if (json) return print(JSON.stringify(reply))
      const { functionName, version, memoryMiB, policy, next } = Value.Parse(Reply, reply)
      const { concurrency, reuse, keepAliveMs } = policy
      print(
        `${functionName}  version ${version}, ${memoryMiB} MiB, ${concurrency} at a time, ${reuse ? `kept ${keepAliveMs} ms` : 'not reused'}`,
      )
      print(`next     ${next.decision}${next.nodeId ? ` on ${next.nodeId}` : ''}: ${next.reason}`)
      const rows = next.held.flatMap(({ nodeId, instances }) =>
        instances.map(({ instanceId, state, inFlight, endsInMs }) => [
          nodeId,
          instanceId,
          state,
          String(inFlight),
          endsInMs === undefined ? '' : `${endsInMs} ms`,
        ]),
      )
      if (rows.length > 0) print(table(['NODE', 'INSTANCE', 'STATE', 'IN FLIGHT', 'ENDS IN'], rows))
    })
}
