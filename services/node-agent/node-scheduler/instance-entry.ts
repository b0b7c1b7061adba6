/** One instance in the table of the node scheduler, and what the schedulers are told of it. */
import type { InstancePolicy } from '../../contracts/function.ts'
import type { InstanceReport, StartInstance } from '../../contracts/node.ts'
import type { StartType } from '../../contracts/placement.ts'
import type { StartWay } from './cache/input.ts'
import type { RunningInstance } from './sandbox-maker.ts'

export interface Entry {
  readonly command: StartInstance
  readonly key: string
  readonly commandedAt: number
  state: 'starting' | 'running' | 'ending'
  /** Settles when the start has ended, one way or another. */
  starting?: Promise<void>
  running?: RunningInstance
  idleSince?: number
  /** Set when the end was decided here; the sandbox's own exit tells less. */
  endReason?: string
}

export const startTypeOf = (way: StartWay): StartType => {
  if (way === 'boot') return way
  return way === 'fork' || way === 'fork-parked' ? 'fork' : 'restore'
}

export const reportOf = (
  entry: Entry,
  keepAlive: (key: string, policy: InstancePolicy) => number | undefined,
  endReason?: string,
): InstanceReport => {
  const inFlight = entry.running?.endpoint.inFlight ?? 0
  const ended = endReason !== undefined
  // An instance that is ending takes no more requests: to the scheduler it is as good as gone.
  const state =
    ended || entry.state === 'ending'
      ? 'ended'
      : entry.state === 'starting'
        ? 'starting'
        : inFlight > 0
          ? 'busy'
          : 'idle'
  const { instanceId, revision, memoryMiB, policy } = entry.command
  const keepAliveMs = state === 'idle' ? keepAlive(entry.key, policy) : undefined
  return {
    instanceId,
    revision,
    memoryMiB,
    policy,
    state,
    inFlight,
    ...(entry.idleSince !== undefined && state === 'idle' ? { idleSince: entry.idleSince } : {}),
    ...(keepAliveMs !== undefined ? { keepAliveMs } : {}),
    ...(state === 'ended' ? { reason: endReason ?? entry.endReason ?? 'ending' } : {}),
  }
}
