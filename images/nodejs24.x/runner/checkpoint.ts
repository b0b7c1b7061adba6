/** Where a runtime that is to be saved waits; each clone goes on from here. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'

/** `services/node-agent/checkpoint/save.ts` waits for this line. The checkpoint to wait for is fixed by opening the file, so before it. */
export const readyMark = 'forkyard: ready to be saved\n'

export const waitForRestore = (path = '/proc/gvisor/checkpoint'): void => {
  const gc = (globalThis as { gc?: () => void }).gc
  // Twice: what finalisers free in the first round goes in the second. Less is saved, and less is read at each start.
  gc?.()
  gc?.()
  const file = openSync(path, 'r')
  writeSync(1, readyMark)
  const result = Buffer.alloc(16)
  const text = result.toString('utf8', 0, readSync(file, result)).trim()
  closeSync(file)
  if (text !== 'restore') throw new Error(`the checkpoint ended with: ${text}`)
}
