/** The addon beside the runner (native/runner-calls.c). A runner without it does not start. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

interface RunnerCalls {
  /** Reseeds OpenSSL from the kernel and mixes `bytes` in. @throws when the kernel gives no randomness. */
  reseed: (bytes: Buffer) => void
  /** Call once: how far the old generation grows before V8 collects as hard as it can. Beyond it, the control group decides. */
  limitHeap: (bytes: number) => void
}

export const { reseed, limitHeap } = createRequire(import.meta.url)(
  join(import.meta.dirname, 'runner-calls.node'),
) as RunnerCalls
