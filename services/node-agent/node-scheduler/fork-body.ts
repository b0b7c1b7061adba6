/** One process of a seed's sandbox as the body of an instance: killed through the seed, which also says how it ended. */
import type { ForkLimits } from '../../contracts/runtime-api.ts'
import type { InstanceBody, SandboxExit } from '../instance.ts'
import { describeWaitStatus } from '../sandbox/sandbox.ts'
import type { EndCause } from './fork-channel.ts'

export class ForkBody implements InstanceBody {
  readonly id: string
  readonly #exit = Promise.withResolvers<SandboxExit>()
  readonly exited = this.#exit.promise
  readonly #kill: () => void
  #wanted: SandboxExit | undefined
  peakMemoryMiB = 0

  constructor(id: string, kill: () => void) {
    this.id = id
    this.#kill = kill
  }

  end(exit: SandboxExit): Promise<SandboxExit> {
    if (!this.#wanted) {
      this.#wanted = exit
      this.#kill()
    }
    return this.exited
  }

  noteMemory(mib: number): void {
    this.peakMemoryMiB = Math.max(this.peakMemoryMiB, mib)
  }

  /** It runs no more. Who ran out of memory did so whatever was wanted. */
  finish(found: SandboxExit): void {
    this.#exit.resolve(found.reason === 'out-of-memory' ? found : (this.#wanted ?? found))
  }
}

/** Pure: how a fork ended, with what its seed saw of it as evidence. */
export const forkExit = (
  { waitStatus, cause }: { readonly waitStatus: number; readonly cause: EndCause },
  { memoryMiB, processes }: ForkLimits,
  peakMiB: number,
): SandboxExit => {
  const status = describeWaitStatus(waitStatus)
  if (cause === 'memory')
    return { reason: 'out-of-memory', detail: `memory limit ${memoryMiB} MiB, peak ${peakMiB} MiB, of this fork alone` }
  return { reason: 'exit', detail: cause === 'processes' ? `${status}: more than ${processes} processes` : status }
}
