/**
 * Removes what belongs to nobody: processes, control groups, runsc state, sockets and directories of sandboxes that this run of
 * the agent does not know. At the agent's start that is everything, since instances do not outlive their node gateway.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Logger } from '../../chassis/log.ts'
import { runscFlags } from '../sandbox/bundle.ts'
import { instanceDir } from '../sandbox/place.ts'
import { runscRoot, type SandboxHost } from '../sandbox/sandbox.ts'

const run = promisify(execFile)

const namesIn = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : [])

/** runsc keeps `<id>_sandbox:<id>.state` in its root. */
const runscIds = (runDir: string): string[] =>
  namesIn(runscRoot(runDir)).flatMap((name) => /^([0-9a-f]+)_sandbox:.*\.state$/.exec(name)?.[1] ?? [])

export class Reconciler {
  readonly #host: SandboxHost
  readonly #logger: Logger
  #running: Promise<void> = Promise.resolve()

  constructor(host: SandboxHost, logger: Logger) {
    this.#host = host
    this.#logger = logger
  }

  /** Removes all that is not in `known`. Never throws; what could not be removed is tried again next time. */
  sweep(known: ReadonlySet<string>): Promise<void> {
    this.#running = this.#running.then(() => this.#sweep(known))
    return this.#running
  }

  async #sweep(known: ReadonlySet<string>): Promise<void> {
    const { runDir, cgroups } = this.#host
    // Taken in one go: what is being made is known before anything of it exists.
    const found = new Set([...namesIn(join(runDir, 'i')), ...cgroups.list(), ...runscIds(runDir)])
    for (const id of [...found].filter((name) => !known.has(name))) {
      try {
        await this.#remove(id)
        this.#logger.warn({ sandboxId: id }, 'removed a leftover sandbox')
      } catch (err) {
        this.#logger.error({ err, sandboxId: id }, 'a leftover sandbox could not be removed')
      }
    }
  }

  async #remove(id: string): Promise<void> {
    const { runDir, runscPath, cgroups } = this.#host
    // Processes first: runsc's delete then only tidies its files.
    await cgroups.create(id).destroy()
    if (runscIds(runDir).includes(id))
      await run(runscPath, ['--root', runscRoot(runDir), ...runscFlags, 'delete', '--force', id])
    await rm(join(runscRoot(runDir), `runsc-${id}.sock`), { force: true })
    await rm(instanceDir(runDir, id), { recursive: true, force: true })
  }
}
