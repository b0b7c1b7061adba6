/**
 * What a function wants to be run around its checkpoint: `forkyard.beforeCheckpoint(fn, ...args)` and `forkyard.afterRestore(fn, ...args)`,
 * also under the names that SnapStart's hooks have where AWS offers them. Lambda's order: before the checkpoint what was registered last
 * comes first; after the restore what was registered first.
 */
import { errorBody, RuntimeError } from './error-body.ts'

type Hook = () => unknown
type Register = <Args extends readonly unknown[]>(hook: (...args: Args) => unknown, ...args: Args) => void

const before: Hook[] = []
const after: Hook[] = []

const registerIn =
  (hooks: Hook[], name: string): Register =>
  (hook, ...args) => {
    if (typeof hook !== 'function') throw new TypeError(`forkyard.${name} takes a function and its arguments`)
    hooks.push(() => hook(...args))
  }

export const defineHooks = (): void => {
  const beforeCheckpoint = registerIn(before, 'beforeCheckpoint')
  const afterRestore = registerIn(after, 'afterRestore')
  const value = Object.freeze({
    beforeCheckpoint,
    afterRestore,
    registerBeforeSnapshot: beforeCheckpoint,
    registerAfterRestore: afterRestore,
  })
  Object.defineProperty(globalThis, 'forkyard', { value, configurable: true, enumerable: false, writable: true })
}

const runAll = async (hooks: readonly Hook[], errorType: string): Promise<void> => {
  for (const hook of hooks) {
    try {
      // One after the other: a later hook may need what an earlier one made.
      // oxlint-disable-next-line no-await-in-loop
      await hook()
    } catch (cause) {
      const { errorType: name, errorMessage } = errorBody(cause)
      const error = new RuntimeError(errorType, `${name}: ${errorMessage}`, { cause })
      if (cause instanceof Error && cause.stack !== undefined) error.stack = cause.stack
      throw error
    }
  }
}

/** @throws RuntimeError Runtime.BeforeSnapshotError, Lambda's name for it; the hooks after it have not run. */
export const runBeforeCheckpoint = (): Promise<void> => runAll(before.toReversed(), 'Runtime.BeforeSnapshotError')

/** @throws RuntimeError Runtime.AfterRestoreError, likewise. */
export const runAfterRestore = (): Promise<void> => runAll(after, 'Runtime.AfterRestoreError')
