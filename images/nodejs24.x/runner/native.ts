/** The addon beside the runner (native/runner-calls.c). A runner without it does not start. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

interface RunnerCalls {
  /** Reseeds OpenSSL from the kernel and mixes `bytes` in. @throws when the kernel gives no randomness. */
  reseed: (bytes: Buffer) => void
  /** Turns the counting of draws from OpenSSL's generators on, from 0, or off. */
  watchDraws: (on: boolean) => void
  /** How often was drawn since the counting was turned on. */
  draws: () => number
  /**
   * Call once: how far the old generation grows before V8 collects as hard as it can. Beyond it, the control group decides; a forked
   * child ends when its heap reaches `all`.
   */
  limitHeap: (bytes: number, all: number) => void
  /** Blocks in a seed. Returns `[id, entropy]` in each child, undefined in the seed when the node closed the connection. */
  serveForks: (
    directory: string,
    hello: string,
    memoryMiB: number,
    processes: number,
    tmpMiB: number,
  ) => [string, string] | undefined
  /** In a fork, when it is given work: its seed sees soon what it uses. Elsewhere nothing happens. */
  wakeWatch: () => void
  /** Ends the process without Node.js's teardown, which waits for threads that no fork has. */
  exitNow: (status: number) => never
}

export const { reseed, watchDraws, draws, limitHeap, serveForks, wakeWatch, exitNow } = createRequire(import.meta.url)(
  join(import.meta.dirname, 'runner-calls.node'),
) as RunnerCalls
