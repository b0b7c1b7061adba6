/**
 * One gVisor sandbox: created by `runsc create` inside its own control group, then booted or restored, given its code, ended.
 * Everything it owns lies under `<runDir>/i/<id>` and in the control group `<id>`; `end` removes all of it.
 */
import { execFile } from 'node:child_process'
import { closeSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import type { RuntimeFiles } from '../config.ts'
import type { InstanceBody, SandboxExit } from '../instance.ts'
import { runscFlags, writeBundle, type CheckpointOf } from './bundle.ts'
import type { Cgroup, CgroupEvidence, Limits } from './cgroup.ts'
import { addLink, mountImage, restore, traceSockets, waitExit, type NetworkLink } from './control.ts'
import type { HostCalls } from './host-calls.ts'
import {
  bundleDir,
  instanceDir,
  makePlace,
  removePlace,
  socketDir,
  type PlaceHost,
  type SandboxPlace,
} from './place.ts'

const run = promisify(execFile)

export interface SandboxHost extends PlaceHost {
  readonly host: HostCalls
  readonly runscPath: string
}

export interface SandboxCheckpoint {
  readonly of: CheckpointOf
  /** EROFS image that the checkpoint has on `/var/task`. */
  readonly code: string
  /** The sandbox gets a copy, which `giveCode` replaces once it is known what is restored. */
  readonly copyCode?: boolean
}

export interface SandboxSpec {
  readonly id: string
  readonly runtime: RuntimeFiles
  readonly limits: Limits
  readonly tmpMiB: number
  /** Made to be saved, or to be restored into; otherwise it is only booted. */
  readonly checkpoint?: SandboxCheckpoint | undefined
  /** `NAME=value` of the first process, beyond what every one has. Not for a restore: the checkpoint's are in it. */
  readonly environment?: readonly string[]
}

/** `runsc` failed. The message carries what it wrote. */
export class SandboxError extends Error {
  override readonly name = 'SandboxError'
}

/** So late a sandbox ends of which the kernel killed one process for lack of memory. */
const memoryLookMs = 500

export const runscRoot = (runDir: string): string => join(runDir, 'runsc')

const ownCode = (runDir: string, id: string): string => join(instanceDir(runDir, id), 'code.erofs')

export class Sandbox implements InstanceBody {
  readonly id: string
  readonly stdout: Readable
  readonly stderr: Readable
  /** Resolves when the sandbox has ended, by itself or through `end`: nothing of it runs any more. */
  readonly exited: Promise<SandboxExit>
  /** Resolves after `exited`, when its files are gone too, or are left to the reconciler. */
  readonly removed: Promise<void>
  readonly #host: SandboxHost
  readonly #place: SandboxPlace
  readonly #finish: (exit: SandboxExit) => void
  readonly #tidied: () => void
  #ending: Promise<SandboxExit> | undefined

  private constructor(host: SandboxHost, place: SandboxPlace, stdout: Readable, stderr: Readable) {
    this.id = place.id
    this.#host = host
    this.#place = place
    this.stdout = stdout
    this.stderr = stderr
    const exit = Promise.withResolvers<SandboxExit>()
    this.exited = exit.promise
    this.#finish = exit.resolve
    const tidy = Promise.withResolvers<void>()
    this.removed = tidy.promise
    this.#tidied = tidy.resolve
  }

  /** @param place of this id, made now if it is not given. @throws SandboxError when runsc refuses; nothing is left then. */
  static async create(host: SandboxHost, spec: SandboxSpec, place = makePlace(host, spec.id)): Promise<Sandbox> {
    const bundle = bundleDir(host.runDir, spec.id)
    const { checkpoint } = spec
    if (checkpoint?.copyCode) copyFileSync(checkpoint.code, ownCode(host.runDir, spec.id))
    writeBundle(bundle, {
      imagePath: spec.runtime.imagePath,
      command: spec.runtime.command,
      socketDir: socketDir(host.runDir, spec.id),
      hostname: spec.id,
      tmpMiB: spec.tmpMiB,
      checkpoint: checkpoint?.of,
      codePath: checkpoint?.copyCode ? ownCode(host.runDir, spec.id) : checkpoint?.code,
      ...(spec.environment ? { environment: spec.environment } : {}),
    })
    place.cgroup.setLimits(spec.limits)
    const [stdout, stdoutEnd] = host.host.pipe()
    const [stderr, stderrEnd] = host.host.pipe()
    const sandbox = new Sandbox(host, place, readEnd(stdout), readEnd(stderr))
    try {
      await sandbox.#runscCreate(bundle, stdoutEnd, stderrEnd)
      return sandbox
    } catch (error) {
      await sandbox.end({ reason: 'killed', detail: 'creation failed' })
      throw error
    } finally {
      closeSync(stdoutEnd)
      closeSync(stderrEnd)
    }
  }

  /** Starts the first process afresh. */
  async boot(): Promise<void> {
    await this.#runsc('start', this.id)
    this.#watch()
  }

  /** Restores a checkpoint made with the same image, command and flags. */
  async restore(checkpointPath: string): Promise<void> {
    await restore(this.#host.host, this.#controlSocket, checkpointPath)
    this.#watch()
  }

  /** Another image in its own copy, which is open already and read by `restore`. Call before that. */
  async giveCode(imagePath: string): Promise<void> {
    await copyFile(imagePath, ownCode(this.#host.runDir, this.id))
  }

  /** Saves it into the directory, which exists and is empty. Whatever it was, it ends with that. */
  async save(directory: string): Promise<void> {
    await this.#runsc('checkpoint', '--image-path', directory, this.id)
  }

  /** Over whatever is on `/var/task`. */
  async mountCode(imagePath: string): Promise<void> {
    await mountImage(this.#host.host, this.#controlSocket, this.id, imagePath, '/var/task')
  }

  /** Once, while it runs. Closing the link's socket is the caller's, afterwards. */
  async connect(link: NetworkLink): Promise<void> {
    await addLink(this.#host.host, this.#controlSocket, link)
  }

  /** Once, before anything of the function runs. Closing the socket is the caller's, afterwards. */
  async traceSockets(socket: number): Promise<void> {
    await traceSockets(this.#host.host, this.#controlSocket, socket)
  }

  /** Nothing once the sandbox ends: its control group goes. */
  setLimits(limits: Limits): void {
    if (!this.#ending) this.#cgroup.setLimits(limits)
  }

  peakMemoryMiB(): number {
    return this.#cgroup.peakMiB()
  }

  memoryMiB(): number {
    return this.#cgroup.memoryMiB()
  }

  /** CPU time of what runs of it now, milliseconds. */
  cpuMs(): number {
    return this.#cgroup.cpuMs()
  }

  /** Kills at once (the whole control group), removes everything, resolves `exited`. The first caller's reason stands. */
  end(exit: SandboxExit): Promise<SandboxExit> {
    this.#ending ??= this.#end(exit)
    return this.#ending
  }

  async #end(exit: SandboxExit): Promise<SandboxExit> {
    const found = explainExit(exit, this.#cgroup.evidence())
    for (const pid of this.#cgroup.pids()) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone already.
      }
    }
    this.#finish(found)
    try {
      await this.#runsc('delete', '--force', this.id)
      await removePlace(this.#host, this.#place)
    } catch {
      // Nothing of it runs any more; what is left is the reconciler's.
    }
    this.#tidied()
    return found
  }

  get #cgroup(): Cgroup {
    return this.#place.cgroup
  }

  get #controlSocket(): string {
    return join(runscRoot(this.#host.runDir), `runsc-${this.id}.sock`)
  }

  /** Notices the end of the first process, or of the whole sandbox. */
  #watch(): void {
    const ended = (detail: string) => void this.end({ reason: 'exit', detail })
    waitExit(this.#host.host, this.#controlSocket, this.id).then(
      (status) => ended(describeWaitStatus(status)),
      () => ended('the sandbox was killed'),
    )
    if (!this.#cgroup.diesWhole) this.#watchMemory()
  }

  /** What the kernel would do on v2: without one of its processes the sandbox ends. */
  #watchMemory(): void {
    const look = setInterval(() => {
      if (this.#cgroup.oomKills() > 0)
        void this.end({ reason: 'out-of-memory', detail: 'one of its processes was killed' })
    }, memoryLookMs)
    look.unref()
    void this.exited.then(() => clearInterval(look))
  }

  async #runsc(...args: string[]): Promise<void> {
    try {
      await run(this.#host.runscPath, [...this.#flags(), ...args])
    } catch (error) {
      const stderr = (error as { stderr?: string }).stderr
      throw new SandboxError(`runsc ${args[0]}: ${stderr?.trim() || String(error)}`, { cause: error })
    }
  }

  #flags(): string[] {
    return ['--root', runscRoot(this.#host.runDir), ...runscFlags]
  }

  /** Whatever runsc starts is inside the control group from its first instruction, as runsc is. */
  async #runscCreate(bundle: string, stdoutEnd: number, stderrEnd: number): Promise<void> {
    const log = `${bundle}/runsc.log`
    writeFileSync(log, '')
    const argv = [this.#host.runscPath, ...this.#flags(), '--log', log, 'create', '--bundle', bundle, this.id]
    const status = await this.#host.host.run(argv, this.#cgroup.joinFiles, stdoutEnd, stderrEnd)
    if (status !== 0) {
      const said = readFileSync(log, 'utf8').slice(-2000)
      throw new SandboxError(`runsc create ended with ${describeWaitStatus(status)}: ${said}`)
    }
  }
}

/** Pure. Who ran out of memory or processes may look as if it had merely exited; the control group knows better. */
export const explainExit = (
  exit: SandboxExit,
  { oomKills, peakMiB, limitMiB, refusedPids }: CgroupEvidence,
): SandboxExit => {
  if (oomKills > 0)
    return {
      reason: 'out-of-memory',
      detail: `memory limit ${limitMiB} MiB, peak ${peakMiB} MiB, kernel kills ${oomKills}`,
    }
  if (exit.reason !== 'exit' || refusedPids === 0) return exit
  return { ...exit, detail: `${exit.detail}: ${refusedPids} processes or threads over the limit were refused` }
}

const readEnd = (fd: number): Readable => new Socket({ fd, readable: true, writable: false })

/** Wait status as wait(2) encodes it. */
export const describeWaitStatus = (status: number): string =>
  (status & 0x7f) === 0 ? `exit status ${(status >> 8) & 0xff}` : `signal ${status & 0x7f}`
