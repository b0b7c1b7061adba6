/**
 * No checkpoint is published before two clones of it answered, and differed in everything in which clones must differ. The clones run
 * the runtime's own probe (a function in the image), given to them as the node agent would give them one.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Assignment } from '../../contracts/runtime-api.ts'
import type { RuntimeFiles } from '../config.ts'
import type { Limits } from '../sandbox/cgroup.ts'
import { socketDir } from '../sandbox/place.ts'
import { Sandbox, type SandboxHost, type SandboxSpec } from '../sandbox/sandbox.ts'
import { serveMaker } from './maker-socket.ts'

const cloneMs = 60_000
/** The clones' clocks may be this far from the machine's. */
const clockErrorMs = 5000

/** Where the probe of each runtime lies: `clone-probe.handler`, or an executable `bootstrap`. */
const probeRoot = '/var/runtime/probe'

export type Probe = Readonly<Record<string, string | number>>

/** Where sandboxes of checkpoints are made. Every id is told before anything of it exists, and again when nothing is left. */
export interface MakerPlace {
  readonly host: SandboxHost
  readonly begun?: (id: string) => void
  readonly gone?: (id: string) => void
  /** Ends what runs there. */
  readonly signal?: AbortSignal
}

export interface Candidate {
  readonly runtime: RuntimeFiles
  /** Directory of the checkpoint. */
  readonly directory: string
  /** EROFS image that it has on `/var/task`. */
  readonly code: string
  readonly tmpMiB: number
  readonly limits: Limits
  /** A function is loaded in it already. */
  readonly ofVersion?: boolean
}

/** The clones were not unique. */
export class GateError extends Error {
  override readonly name = 'GateError'
}

/** @throws GateError naming what did not differ; Error saying why a clone did not answer. */
export const checkClones = async (place: MakerPlace, candidate: Candidate): Promise<void> => {
  const probes = [await probeClone(place, candidate), await probeClone(place, candidate)]
  const problems = findCollisions(probes)
  if (problems.length > 0) throw new GateError(`clones of this checkpoint are not unique: ${problems.join('; ')}`)
}

/** Pure. `timeOriginError` is a distance in ms, all others are values that no two clones may share. */
export const findCollisions = (probes: readonly Probe[]): string[] => {
  const problems: string[] = []
  for (const name of new Set(probes.flatMap((probe) => Object.keys(probe)))) {
    const values = probes.map((probe) => probe[name])
    if (name === 'timeOriginError') {
      if (values.some((value) => !(Number(value) <= clockErrorMs)))
        problems.push(`the clock is off by ${values.join(', ')} ms`)
    } else if (values.includes(undefined) || new Set(values).size < values.length)
      problems.push(`${name}: ${values.join(', ')}`)
  }
  return problems
}

/** Creates it, and ends it when `use` settles or the place is given up; resolves when nothing of it is left. */
export const withSandbox = async <T>(
  { host, signal }: MakerPlace,
  spec: SandboxSpec,
  use: (sandbox: Sandbox) => Promise<T>,
): Promise<T> => {
  signal?.throwIfAborted()
  const sandbox = await Sandbox.create(host, spec)
  const giveUp = (): void => void sandbox.end({ reason: 'killed', detail: 'given up' })
  signal?.addEventListener('abort', giveUp)
  try {
    signal?.throwIfAborted()
    return await use(sandbox)
  } finally {
    signal?.removeEventListener('abort', giveUp)
    await sandbox.end({ reason: 'killed', detail: 'made or tested' })
    await sandbox.removed
  }
}

/** Runs `use` with an id that is known to the place, and its socket directory. */
export const withSandboxId = async <T>({ begun, gone }: MakerPlace, use: (id: string) => Promise<T>): Promise<T> => {
  const id = randomBytes(8).toString('hex')
  begun?.(id)
  try {
    return await use(id)
  } finally {
    gone?.(id)
  }
}

export const probeClone = (place: MakerPlace, candidate: Candidate): Promise<Probe> =>
  withSandboxId(place, async (id) => {
    const { host } = place
    const { runtime, directory, code, tmpMiB, limits, ofVersion } = candidate
    mkdirSync(socketDir(host.runDir, id), { recursive: true })
    const socket = await serveMaker(join(socketDir(host.runDir, id), 'api.sock'), assignment(id, ofVersion === true))
    try {
      const checkpoint = { of: ofVersion ? 'version' : 'runtime', code } as const
      return await withSandbox(place, { id, runtime, limits, tmpMiB, checkpoint }, async (sandbox) => {
        let printed = ''
        for (const output of [sandbox.stdout, sandbox.stderr]) {
          output.on('error', () => undefined)
          output.setEncoding('utf8').on('data', (part: string) => (printed = (printed + part).slice(-4000)))
        }
        const timer = setTimeout(() => void sandbox.end({ reason: 'timeout', detail: 'no answer' }), cloneMs)
        try {
          await sandbox.restore(directory)
          const ended = sandbox.exited.then(({ detail }) =>
            Promise.reject(new Error(`a clone ended: ${detail}\n${printed}`)),
          )
          return (await Promise.race([socket.answer, ended])) as Probe
        } finally {
          clearTimeout(timer)
        }
      })
    } finally {
      socket.close()
    }
  })

const assignment = (instanceId: string, probe: boolean): Assignment => ({
  instanceId,
  environment: { LAMBDA_TASK_ROOT: probeRoot, _HANDLER: 'clone-probe.handler', PATH: '/usr/bin:/bin' },
  handler: 'clone-probe.handler',
  concurrency: 1,
  startType: 'restore',
  // None: what is in the checkpoint must become unique without the host's help.
  entropy: '',
  ...(probe ? { probe } : {}),
})
