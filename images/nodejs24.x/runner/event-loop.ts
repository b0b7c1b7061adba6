/**
 * What happens when nothing is left that could call back: the callbacks here run, once, in the order in which they were set. While
 * handlers run the runner's own sockets do not keep the process alive, so this is the function's event loop.
 */
import { RuntimeError } from './error-body.ts'

const waiting = new Set<() => void>()

process.on('beforeExit', () => {
  const callbacks = [...waiting]
  waiting.clear()
  for (const callback of callbacks) callback()
})

/** @returns takes it back. */
export const whenLoopIsEmpty = (callback: () => void): (() => void) => {
  waiting.add(callback)
  return () => void waiting.delete(callback)
}

/** For promises that nothing can settle any more. @throws RuntimeError Runtime.NodeJsExit */
export const rejectWhenLoopIsEmpty = async <T>(run: () => Promise<T>): Promise<T> => {
  const { promise, reject } = Promise.withResolvers<never>()
  const forget = whenLoopIsEmpty(() => reject(neverSettled()))
  try {
    return await Promise.race([run(), promise])
  } finally {
    forget()
  }
}

export const neverSettled = (): RuntimeError =>
  new RuntimeError('Runtime.NodeJsExit', 'The event loop is empty, and the promise of the handler is not settled')
