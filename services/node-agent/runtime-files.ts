/** Checks images and checkpoints against their digests before the node says that it is ready; what is damaged is never used. */
import type { Logger } from '../chassis/log.ts'
import type { RuntimeName } from '../contracts/function.ts'
import { damagedFile } from './checkpoint/manifest.ts'
import type { NodeAgentConfig, RuntimeFiles } from './config.ts'
import { fileDigest } from './node-scheduler/code-images.ts'

/**
 * First process of a runtime's sandbox. Part of a checkpoint: another command needs another checkpoint. Whose memory it will be is
 * not known yet, so V8's old generation may be large here, and the runner lowers that when it is given a function.
 */
export const runtimeCommands: Readonly<Record<RuntimeName, readonly string[]>> = {
  'nodejs24.x': [
    '/var/lang/bin/node',
    '--expose-gc',
    '--max-old-space-size=10240',
    // Derived from the old generation's size otherwise, and too large for small functions.
    '--max-semi-space-size=16',
    '/var/runtime/index.mjs',
  ],
  'provided.al2023': ['/var/runtime/init'],
  // No user's site-packages (`/tmp` is the home), no bytecode written to file systems that take none.
  'python3.11': ['/usr/bin/python3.11', '-s', '-B', '/var/runtime/bootstrap.py'],
}

/**
 * What a seed of the runtime is booted with, from the runtime's own command: a fork has one thread, so V8 must not count on others. Every
 * other instance keeps them, which is why a seed is not restored from the runtime's checkpoint (docs/decisions/0027).
 */
export const seedCommand = ([node = '', ...rest]: readonly string[]): string[] => [
  node,
  '--single-threaded',
  '--v8-pool-size=0',
  '--disable-sigusr1',
  '--no-memory-reducer',
  ...rest,
]

/** The runtime without its checkpoint when that is damaged: starts are boots then. @throws when the image itself is damaged. */
const checkRuntime = async (name: string, runtime: RuntimeFiles, logger: Logger): Promise<RuntimeFiles> => {
  if ((await fileDigest(runtime.imagePath)) !== runtime.imageDigest)
    throw new Error(`the image of runtime ${name} does not have its digest`)
  const { checkpointPath, ...withoutCheckpoint } = runtime
  if (!checkpointPath) return runtime
  const damaged = await damagedFile(checkpointPath)
  if (damaged === undefined) return runtime
  logger.error({ runtime: name, file: damaged }, 'the checkpoint is damaged and will not be used')
  return withoutCheckpoint
}

export const checkRuntimes = async (config: NodeAgentConfig, logger: Logger): Promise<NodeAgentConfig['runtimes']> => {
  const entries = Object.entries(config.runtimes).map(
    async ([name, runtime]) => [name, await checkRuntime(name, runtime, logger)] as const,
  )
  return Object.fromEntries(await Promise.all(entries)) as NodeAgentConfig['runtimes']
}
