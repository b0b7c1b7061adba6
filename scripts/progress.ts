/** One display for all long steps: live on a terminal, plain lines elsewhere. */
import { Listr, type ListrTask } from 'listr2'

export type Report = (line: string) => void

export interface Step {
  readonly title: string
  /** Why there is nothing to do; the step is shown as skipped then. */
  readonly skip?: (() => string | false | Promise<string | false>) | undefined
  /** Reports what happens right now; what it returns is added to the title. */
  readonly run: (report: Report) => Promise<string | void>
}

const plainIntervalMs = 15_000

/** A log of every line of a build is no use to anybody: without a terminal, one line in so many seconds. */
const reporterOf = (write: (line: string) => void, isTty = process.stdout.isTTY): Report => {
  let last = -Infinity
  return (line) => {
    if (!isTty && performance.now() - last < plainIntervalMs) return
    last = performance.now()
    write(line)
  }
}

const toTask = ({ title, skip, run }: Step): ListrTask => ({
  title,
  ...(skip ? { skip } : {}),
  task: async (_, task) => {
    const from = performance.now()
    const outcome = await run(reporterOf((line) => (task.output = line)))
    const seconds = ((performance.now() - from) / 1000).toFixed(1)
    task.title = `${title}${outcome ? `: ${outcome}` : ''} (${seconds} s)`
  },
})

/** @param atOnce how many steps run side by side. The first failure ends the run; what still runs is waited for. */
export const runSteps = async (steps: readonly Step[], atOnce = 1): Promise<void> => {
  await new Listr(steps.map(toTask), {
    concurrent: atOnce,
    exitOnError: true,
    rendererOptions: { collapseErrors: false, collapseSkips: true, showErrorMessage: false },
    fallbackRenderer: 'simple',
  }).run()
}
