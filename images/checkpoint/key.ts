/** Key of a bare runtime's checkpoint. */
import { resolve } from 'node:path'
import type { RuntimeName } from '../../services/contracts/function.ts'
import { keyOf, platformParts, shapePart } from '../../services/node-agent/checkpoint/key.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { fileDigest } from '../../services/node-agent/file-digests.ts'

export interface CheckpointSources {
  /** Paths. */
  readonly image: string
  readonly runsc: string
  /** Of the builder. */
  readonly inputsDigest: string
}

export const checkpointKey = async (
  runtime: RuntimeName,
  { image, runsc, inputsDigest }: CheckpointSources,
): Promise<string> =>
  keyOf([
    runtime,
    await fileDigest(image),
    // gVisor restores only into a sandbox whose image has the path that it had when it was saved.
    resolve(image),
    ...platformParts(runsc),
    shapePart(runtimeCommands[runtime], 'runtime'),
    inputsDigest,
  ])
