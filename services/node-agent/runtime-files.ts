/** What a runtime consists of on a node. */
import type { RuntimeName } from '../contracts/function.ts'

/**
 * First process of a runtime's sandbox. Part of a checkpoint: another command needs another checkpoint. Whose memory it will be is
 * not known yet, so V8's old generation may be large here, and the runner lowers that when it is given a function.
 */
export const runtimeCommands: Readonly<Record<RuntimeName, readonly string[]>> = {
  'nodejs24.x': [
    '/var/lang/bin/node',
    '--expose-gc',
    // It collects a while after the last activity: in a clone at once, whose clock went on meanwhile (docs/decisions/0034).
    '--no-memory-reducer',
    '--max-old-space-size=10240',
    // Derived from the old generation's size otherwise, and too large for small functions.
    '--max-semi-space-size=16',
    '/var/runtime/index.mjs',
  ],
  'provided.al2023': ['/var/runtime/init'],
  // No user's site-packages (`/tmp` is the home), no bytecode written to file systems that take none.
  'python3.11': ['/usr/bin/python3.11', '-s', '-B', '/var/runtime/bootstrap.py'],
}

/** How a sandbox of the runtime becomes a seed. */
export interface SeedWay {
  /** What the first process is given before its own arguments. */
  readonly flags: readonly string[]
  readonly environment: readonly string[]
  /** The runtime's checkpoint will do, since every other instance is started alike. */
  readonly restorable: boolean
}

/** Or why there is none (docs/decisions/0027). */
export const seedWays: Readonly<Record<RuntimeName, SeedWay | { readonly refused: string }>> = {
  // A fork has one thread, so V8 must not count on others; and its heap must be copied. Every other instance keeps the threads.
  'nodejs24.x': {
    flags: ['--single-threaded', '--v8-pool-size=0', '--disable-sigusr1'],
    environment: ['FORKYARD_SEED=1', 'LD_PRELOAD=/var/runtime/keep-on-fork.so'],
    restorable: false,
  },
  'python3.11': { flags: [], environment: [], restorable: true },
  'provided.al2023': {
    refused: 'a process of a custom runtime cannot be copied: when it is initialised, only it knows',
  },
}

export const seedCommand = ([program = '', ...rest]: readonly string[], { flags }: SeedWay): string[] => [
  program,
  ...flags,
  ...rest,
]
