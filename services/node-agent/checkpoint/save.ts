/** Saves a sandbox whose first process waits at `/proc/gvisor/checkpoint`. */
import type { Sandbox } from '../sandbox/sandbox.ts'

/** Printed by a runtime that has opened `/proc/gvisor/checkpoint`. */
const readyMark = 'forkyard: ready to be saved'
const printedKept = 8000

export interface Waiting {
  /** Resolves when the process waits. Rejects when it ended, or after the time. */
  readonly reached: Promise<void>
  /** The end of what it printed. */
  readonly printed: () => string
}

/** Call before the sandbox runs: reads its output to the end. */
export const waitForMark = ({ stdout, stderr, exited }: Sandbox, withinMs: number): Waiting => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let text = ''
  const timer = setTimeout(() => reject(new Error(`the runtime was not ready within ${withinMs} ms`)), withinMs)
  void exited.then(({ detail }) => reject(new Error(`the runtime ended: ${detail}`)))
  for (const output of [stdout, stderr]) {
    output.on('error', () => undefined)
    output.setEncoding('utf8').on('data', (part: string) => {
      text = (text + part).slice(-printedKept)
      if (text.includes(readyMark)) resolve()
    })
  }
  const reached = promise.finally(() => clearTimeout(timer))
  // Whoever could not even boot it does not wait for it.
  reached.catch(() => undefined)
  return { reached, printed: () => text }
}

/** Boots it and saves it where it waits, into `directory`, which exists and is empty. @throws Error with what it printed. */
export const bootAndSave = async (sandbox: Sandbox, directory: string, withinMs: number): Promise<void> => {
  const waiting = waitForMark(sandbox, withinMs)
  try {
    await sandbox.boot()
    await waiting.reached
  } catch (error) {
    throw new Error(`${String(error)}\n${waiting.printed()}`, { cause: error })
  }
  await sandbox.save(directory)
}
