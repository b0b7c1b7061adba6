/** What this node holds for a revision, why, and how its next instance would start. Nothing is carried out. */
import { revisionKey, type RevisionRef } from '../../../contracts/placement.ts'
import type { VersionConfig } from '../../../contracts/function.ts'
import type { NodeExplanation } from '../../../contracts/node.ts'
import { chooseStart } from '../choose-start.ts'
import type { NodeScheduler } from '../node-scheduler.ts'
import type { Revisions } from '../revisions.ts'
import type { SandboxStarter } from '../sandbox-starter.ts'
import type { CacheKeeper } from './cache-keeper.ts'
import type { CachePlan } from './cache-plan.ts'
import type { CacheInput, LevelDecision } from './input.ts'

export interface ExplainDeps {
  readonly nodeId: string
  readonly plan: CachePlan
  readonly cache: CacheKeeper
  readonly starter: SandboxStarter
  readonly scheduler: NodeScheduler
  readonly revisions: Pick<Revisions, 'config'>
}

const undecided: LevelDecision = { count: 0, reason: 'not started here lately' }

type Level = NodeExplanation['levels'][number]

const level = (name: Level['level'], held: number, { count, reason }: LevelDecision = undecided): Level => ({
  level: name,
  held,
  wanted: count,
  reason,
})

/** @throws PlatformError NO_INSTANCE when the registry has a newer revision */
export const explainRevision = async (deps: ExplainDeps, revision: RevisionRef): Promise<NodeExplanation> => {
  const { nodeId, plan, cache, starter, scheduler } = deps
  const config = await deps.revisions.config(revision)
  const key = revisionKey(revision)
  if (!plan.revision(key)) cache.refresh()
  const facts = starter.facts('auto', config)
  const { way: startType, reason } = chooseStart(facts)
  const decided = plan.revision(key)
  const runtime = plan.last?.decision.runtimes.find((one) => one.runtime === config.runtime)
  const keepAliveMs = plan.keepAliveMs(key, config.policy, 0)
  const cold = plan.isStrictCold(config.policy) ? { count: 0, reason: 'strict-cold uses none' } : undefined
  const idle = scheduler.idle().filter(({ command }) => revisionKey(command.revision) === key).length
  return {
    nodeId,
    mode: plan.isStrictCold(config.policy) ? 'strict-cold' : 'adaptive',
    budgetMiB: plan.budgetMiB,
    heldMiB: cache.held.heldMiB,
    next: { startType, reason },
    levels: [
      { ...level('idle', idle, decided?.idle), ...(keepAliveMs === undefined ? {} : { keepAliveMs }) },
      level('parkedFork', facts.fork.parked, decided?.parkedFork),
      level('seed', Number(facts.fork.hasSeed), decided?.seed),
      level('parked', facts.prepared.parked, cold ?? runtime?.parked),
      level('created', facts.prepared.created, cold ?? runtime?.created),
    ],
    input: plan.last && visibleTo(config, plan.last.input),
  }
}

/** Other functions' habits are not the caller's to see; `GET /v1/cache` has all of it. */
const visibleTo = ({ runtime, tenant, name }: VersionConfig, input: CacheInput): CacheInput => ({
  ...input,
  runtimes: input.runtimes.filter((one) => one.runtime === runtime),
  revisions: input.revisions.filter(({ key }) => key.startsWith(`${tenant}/${name}/`)),
})
