/** One display for all long steps: live on a terminal, plain lines elsewhere. */
import { Listr, type ListrTask } from 'listr2'

export type Report = (line: string) => void

export interface Step {
  readonly title: string
  /** Reports what happens right now; what it returns is added to the title. */
  readonly run: (report: Report) => Promise<string | void>
}

/** Steps one after another, or `atOnce` at a time. */
export interface Lane {
  readonly title: string
  readonly steps: readonly Step[]
  readonly atOnce?: number
  /** A step that fails is shown as such and ends nothing: whoever gave it knows of it already. */
  readonly goOn?: boolean
}

/** A terminal that does not tell its width cannot be drawn on. */
const isLive = (): boolean => process.stdout.isTTY && process.stdout.columns > 0

const plainIntervalMs = 15_000

/** A log of every line of a build is no use to anybody: without a terminal, one line in so many seconds. */
const reporterOf = (title: string, write: (line: string) => void): Report => {
  if (isLive()) return write
  let last = -Infinity
  return (line) => {
    if (performance.now() - last < plainIntervalMs) return
    last = performance.now()
    write(`${title}: ${line}`)
  }
}

/** The display has room for one line; the cause tells all. */
class StepError extends Error {
  override readonly name = 'StepError'

  constructor(cause: unknown) {
    super((cause instanceof Error ? cause.message : String(cause)).split('\n')[0], { cause })
  }
}

/** All that is known of a failure, for the end of the output. */
export const describeFailure = (error: unknown): string => {
  if (error instanceof StepError) return describeFailure(error.cause)
  return error instanceof Error ? error.message : String(error)
}

const toTask = ({ title, run }: Step): ListrTask => ({
  title,
  task: async (_, task) => {
    const from = performance.now()
    const outcome = await run(reporterOf(title, (line) => (task.output = line))).catch((error: unknown) => {
      throw new StepError(error)
    })
    const seconds = ((performance.now() - from) / 1000).toFixed(1)
    task.title = `${title}${outcome ? `: ${outcome}` : ''} (${seconds} s)`
  },
})

const options = {
  exitOnError: true,
  rendererOptions: { collapseSubtasks: false, showErrorMessage: false },
  fallbackRenderer: 'simple',
  fallbackRendererCondition: () => !isLive(),
} as const

export const runSteps = async (steps: readonly Step[]): Promise<void> => {
  await new Listr(steps.map(toTask), options).run()
}

/**
 * Lanes run side by side; an empty one is not shown. A lane of one step at a time ends with its first failure, everything else
 * is run; then the first failure is thrown.
 */
export const runLanes = async (lanes: readonly Lane[]): Promise<void> => {
  const failures: unknown[] = []
  const noting = ({ title, run }: Step, goOn: boolean): Step => ({
    title,
    run: (report) =>
      run(report).catch((error: unknown) => {
        if (!goOn) failures.push(error)
        throw error
      }),
  })
  const tasks = lanes
    .filter(({ steps }) => steps.length > 0)
    .map(({ title, steps, atOnce = 1, goOn = false }): ListrTask => {
      const list = steps.map((step) => toTask(noting(step, goOn)))
      return {
        title,
        task: (_, task) => task.newListr(list, { concurrent: atOnce, exitOnError: atOnce === 1 && !goOn }),
      }
    })
  await new Listr(tasks, { ...options, concurrent: true, exitOnError: false }).run()
  if (failures.length > 0) throw failures[0]
}
