/** What must be undone when the process is told to end: last begun, first undone; then the process ends. */

type Undo = () => void | Promise<void>

const pending: Undo[] = []
let ending = false

const end = async (signal: NodeJS.Signals): Promise<void> => {
  if (ending) return
  ending = true
  for (const undo of pending.toReversed()) {
    try {
      await undo()
    } catch (error) {
      process.stderr.write(`${String(error)}\n`)
    }
  }
  process.exit(signal === 'SIGINT' ? 130 : 143)
}

const listen = (signal: NodeJS.Signals): void => void end(signal)

/** Runs `use`, then `undo`, which an interruption runs too: both must be idempotent. */
export const undoing = async <T>(undo: Undo, use: () => Promise<T>): Promise<T> => {
  if (pending.length === 0) process.on('SIGINT', listen).on('SIGTERM', listen)
  pending.push(undo)
  try {
    return await use()
  } finally {
    // An interruption that is under way does it, and ends the process.
    if (ending) await new Promise(() => undefined)
    pending.splice(pending.indexOf(undo), 1)
    if (pending.length === 0) process.off('SIGINT', listen).off('SIGTERM', listen)
    await undo()
  }
}
