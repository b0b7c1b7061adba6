/** What the engine writes for people, read. */
import { CommandError } from './setup/run.ts'

/** By kind of change: `{"unchanged": 40}` is a run that changed nothing. */
export type Changes = Readonly<Record<string, number>>

/** From the summary: lines such as `    + 5 created` and `    12 unchanged` below `Resources:`. */
export const changesOf = (output: string): Changes => {
  const [, summary = ''] = output.split(/^Resources:\n/m)
  const lines = summary.split('\n\n')[0]?.matchAll(/^\s+[^\s\d]*\s*(\d+) (\w[\w ]*)$/gm) ?? []
  return Object.fromEntries([...lines].map(([, count, kind]) => [kind ?? '', Number(count)]))
}

/** The part that says what went wrong, and with which resource. */
export const diagnosticsOf = (output: string): string | undefined =>
  /^Diagnostics:\n([\s\S]*?)(?=^(?:Resources|Outputs|Duration):|(?![\s\S]))/m.exec(output)?.[1]?.trimEnd()

/** An engine that fails says much; what helps is at its end. */
export const explained = async (output: Promise<string>): Promise<string> => {
  try {
    return await output
  } catch (error) {
    const diagnostics = error instanceof CommandError ? diagnosticsOf(error.output) : undefined
    // Without a cause: that is the engine's whole output.
    throw diagnostics ? new Error(`the engine could not do it\n${diagnostics}`) : error
  }
}
