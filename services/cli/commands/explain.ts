import type { Command } from 'commander'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { InstancePolicy } from '../../contracts/function.ts'
import { NodeExplanation } from '../../contracts/node.ts'
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
  startType: Type.Optional(Type.String()),
  startReason: Type.Optional(Type.String()),
  nodes: Type.Array(NodeExplanation),
})

const describePolicy = ({ concurrency, reuse, keepAliveMs, cache, fork, pool }: InstancePolicy): string =>
  [
    `${concurrency} at a time`,
    !reuse ? 'not reused' : keepAliveMs === undefined ? 'kept as the node decides' : `kept ${keepAliveMs} ms`,
    ...(cache === 'strict-cold' ? [cache] : []),
    ...(fork === undefined ? [] : [fork ? 'may be forked' : 'never forked']),
    ...(pool === undefined ? [] : [`in pool ${pool}`]),
  ].join(', ')

const levelNames: Readonly<Record<NodeExplanation['levels'][number]['level'], string>> = {
  idle: 'idle instances',
  parkedFork: 'parked forks',
  seed: 'seed',
  parked: 'parked restores (of the runtime)',
  created: 'created sandboxes (of the runtime)',
}

const describeNode = ({ nodeId, mode, heldMiB, budgetMiB, next, levels }: NodeExplanation): string => {
  const rows = levels.map(({ level, held, wanted, reason }) => [
    levelNames[level],
    String(held),
    String(wanted),
    reason,
  ])
  const head = `${nodeId}  ${mode}, ${heldMiB} of at most ${budgetMiB} MiB held; a new instance: ${next.startType}, ${next.reason}`
  return `${head}\n${table(['LEVEL', 'HELD', 'WANTED', 'WHY'], rows)}`
}

/** Nodes on which it would start, were nothing there to be lent. */
const describeCandidates = ({ candidates }: Explanation): string[][] =>
  candidates.map(({ nodeId, score, freeMiB, instances, holds = '', against }) => [
    nodeId,
    String(score),
    `${freeMiB} MiB`,
    String(instances),
    holds,
    against.join('; '),
  ])

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
      const { functionName, version, memoryMiB, policy, next, startType, startReason, nodes } = Value.Parse(
        Reply,
        reply,
      )
      print(`${functionName}  version ${version}, ${memoryMiB} MiB, ${describePolicy(policy)}`)
      print(`next     ${next.decision}${next.nodeId ? ` on ${next.nodeId}` : ''}: ${next.reason}`)
      if (startType !== undefined) print(`start    ${startType}: ${startReason}`)
      if (next.pool !== undefined) print(`pool     ${next.pool}`)
      if (next.candidates.length > 0)
        print(table(['NODE', 'SCORE', 'FREE', 'INSTANCES', 'HAS', 'AGAINST'], describeCandidates(next)))
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
      for (const node of nodes) print(`\n${describeNode(node)}`)
    })
}
