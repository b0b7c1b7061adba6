/**
 * The process that is saved once its function is initialised, and its clones. What cannot be saved, or must not, is told to the node,
 * which then makes no checkpoint of this revision.
 */
import { waitForRestore } from './checkpoint.ts'
import { emptyCaches } from './clone.ts'
import { errorBody } from './error-body.ts'
import { runBeforeCheckpoint } from './hooks.ts'
import { reseedMathRandom } from './math-random.ts'
import { draws, watchDraws } from './native.ts'
import { unsavedKinds, watchResources } from './resources.ts'
import type { RuntimeApi, SaveReport } from './runtime-api.ts'
import { withholdEnvironment, type WithheldEnvironment } from './withheld-environment.ts'

export interface Saving {
  /** False in clones. */
  readonly isUnderWay: boolean
  /** Runs hooks, tells the node, and waits. Resolves in each clone; a process that is refused ends. @throws what a hook threw. */
  wait(api: RuntimeApi): Promise<WithheldEnvironment>
  /** Instead, when the initialisation or a hook failed. */
  refuse(api: RuntimeApi, error: unknown): Promise<never>
}

/** Call before anything of the function is loaded, and after `process.env` is the function's. */
export const beginSaving = (withheld: readonly string[]): Saving => {
  const environment = withholdEnvironment(withheld)
  const resources = watchResources(unsavedKinds)
  const from = performance.now()
  reseedMathRandom()
  watchDraws(true)

  /** The reason that explains others comes first: without its secret, a function may fail in any way. */
  const because = (otherwise: string | undefined): string | undefined =>
    environment.read.size > 0
      ? `reads a secret while it is initialised: ${[...environment.read].join(', ')}`
      : otherwise?.slice(0, 500)

  let isUnderWay = true
  return {
    get isUnderWay() {
      return isUnderWay
    },
    refuse: (api, error) => {
      const { errorType, errorMessage } = errorBody(error)
      return end(api, { refused: because(`${errorType}: ${errorMessage}`) ?? errorType, warnings: [], initMs: 0 })
    },
    wait: async (api) => {
      const drawn = { crypto: draws(), math: reseedMathRandom() }
      watchDraws(false)
      const initMs = performance.now() - from
      await runBeforeCheckpoint()
      const left = await resources.opened()
      const refused = because(left === undefined ? undefined : `leaves open: ${left}`)
      const warnings = warningsOf(drawn)
      if (refused !== undefined) return end(api, { refused, warnings, initMs })
      emptyCaches()
      await api.saving({ warnings, initMs })
      api.close()
      // The connection is gone when this turn is over: a checkpoint keeps none to the host.
      await new Promise((resolve) => setImmediate(resolve))
      waitForRestore()
      isUnderWay = false
      return environment
    },
  }
}

const end = async (api: RuntimeApi, report: SaveReport): Promise<never> => {
  await api.saving(report)
  process.exit(0)
}

const warningsOf = (drawn: { readonly crypto: number; readonly math: number }): string[] => {
  const sources = [
    ...(drawn.crypto > 0 ? [`crypto ${drawn.crypto} times`] : []),
    ...(drawn.math > 0 ? [`Math.random ${drawn.math} times`] : []),
  ]
  return sources.length === 0
    ? []
    : [
        `random numbers were drawn while the function was initialised (${sources.join(', ')}): what it keeps of them is the same in all ` +
          'instances that start from its checkpoint. Draw them in the handler, or in a hook: forkyard.afterRestore(fn)',
      ]
}
