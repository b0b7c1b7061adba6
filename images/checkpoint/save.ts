/** Boots the runtime once in a sandbox of the agent's shape and saves it where it waits. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import type { RuntimeFiles } from '../../services/node-agent/config.ts'
import { defaultTmpMiB, runscFlags } from '../../services/node-agent/sandbox/bundle.ts'
import { runscRoot, Sandbox, type SandboxHost } from '../../services/node-agent/sandbox/sandbox.ts'

const run = promisify(execFile)

/** Printed by a runtime that has opened `/proc/gvisor/checkpoint`. */
const readyMark = 'forkyard: ready to be saved'
const bootMs = 120_000
export const builderLimits = { memoryMiB: 1024, cpus: 2, pids: 1024 }

/** Files of the checkpoint in `directory`, which exists and is empty. @throws Error with what the runtime printed. */
export const saveCheckpoint = async (host: SandboxHost, runtime: RuntimeFiles, directory: string): Promise<void> => {
  const id = randomBytes(8).toString('hex')
  const spec = { id, runtime, limits: builderLimits, tmpMiB: defaultTmpMiB, forRestore: true }
  const sandbox = await Sandbox.create(host, spec)
  try {
    const ready = waitForMark([sandbox.stdout, sandbox.stderr])
    await sandbox.boot()
    const ended = sandbox.exited.then(({ detail }) => Promise.reject(new Error(`the runtime ended: ${detail}`)))
    await Promise.race([ready.found, ended]).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${ready.printed()}`)
    })
    const flags = ['--root', runscRoot(host.runDir), ...runscFlags]
    await run(host.runscPath, [...flags, 'checkpoint', '--image-path', directory, id])
  } finally {
    await sandbox.end({ reason: 'killed', detail: 'saved' })
  }
}

const waitForMark = (outputs: readonly Readable[]) => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let text = ''
  const timer = setTimeout(() => reject(new Error(`the runtime was not ready within ${bootMs} ms`)), bootMs)
  for (const output of outputs) {
    output.on('error', () => undefined)
    output.setEncoding('utf8').on('data', (part: string) => {
      text = (text + part).slice(-8000)
      if (text.includes(readyMark)) resolve()
    })
  }
  return { found: promise.finally(() => clearTimeout(timer)), printed: () => text }
}
