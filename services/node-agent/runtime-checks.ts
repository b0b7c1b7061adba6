/** Whether a runtime's files are still what was built. Looked at before each use; what is damaged is never used. */
import type { Logger } from '../chassis/log.ts'
import { PlatformError } from '../contracts/errors.ts'
import type { RuntimeName } from '../contracts/function.ts'
import { damagedFile } from './checkpoint/manifest.ts'
import type { NodeAgentConfig, RuntimeFiles } from './config.ts'
import type { FileDigests } from './file-digests.ts'

export class RuntimeChecks {
  readonly #digests: FileDigests

  constructor(digests: FileDigests) {
    this.#digests = digests
  }

  /** @throws PlatformError NO_CAPACITY when the image is not the one that was built. */
  async image(name: RuntimeName, { imagePath, imageDigest }: RuntimeFiles): Promise<void> {
    const found = await this.#digests.of(imagePath)
    if (found === imageDigest) return
    const problem = found === undefined ? 'is missing' : 'does not have its digest'
    throw new PlatformError('NO_CAPACITY', `this node cannot use runtime ${name}: its image ${problem}`)
  }

  /** Directory of the checkpoint. @throws Error naming what is not as it was made. */
  async checkpoint({ checkpointPath, checkpointKey = '', checkpointDigest }: RuntimeFiles): Promise<string> {
    if (!checkpointPath) throw new Error('the runtime has no checkpoint')
    const expected = { key: checkpointKey, digest: checkpointDigest }
    const problem = await damagedFile(checkpointPath, expected, (path) => this.#digests.of(path))
    if (problem !== undefined) throw new Error(`the checkpoint is damaged: ${problem}`)
    return checkpointPath
  }

  /** The runtime without its checkpoint when that is damaged: starts are boots then. */
  async #usable(name: RuntimeName, runtime: RuntimeFiles, logger: Logger): Promise<RuntimeFiles> {
    const { checkpointPath, ...withoutCheckpoint } = runtime
    // Its starts tell the problem, each again: the image may have been repaired by then.
    await this.image(name, runtime).catch((err: unknown) => logger.error({ err, runtime: name }, 'damaged image'))
    if (checkpointPath === undefined) return runtime
    try {
      await this.checkpoint(runtime)
      return runtime
    } catch (err) {
      logger.error({ err, runtime: name }, 'the checkpoint will not be used')
      return withoutCheckpoint
    }
  }

  /** All of them are looked at before the node says that it is ready, so that no start has to. */
  async usable({ runtimes }: Pick<NodeAgentConfig, 'runtimes'>, logger: Logger): Promise<NodeAgentConfig['runtimes']> {
    const all = Object.entries(runtimes) as [RuntimeName, RuntimeFiles][]
    return Object.fromEntries(
      await Promise.all(all.map(async ([name, files]) => [name, await this.#usable(name, files, logger)] as const)),
    ) as NodeAgentConfig['runtimes']
  }
}
