/** Key of a bare runtime's checkpoint. */
import type { RuntimeName } from '../../services/contracts/function.ts'
import { keyOf, platformParts, shapePart } from '../../services/node-agent/checkpoint/key.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { sha256OfFile } from '../erofs.ts'
import { checkpointInputsDigest } from '../inputs.ts'

export const checkpointKey = async (runtime: RuntimeName, imagePath: string, runscPath: string): Promise<string> =>
  keyOf([
    runtime,
    await sha256OfFile(imagePath),
    ...platformParts(runscPath),
    shapePart(runtimeCommands[runtime], 'runtime'),
    checkpointInputsDigest(),
  ])
