/** What an engine that was killed may leave broken in a backend of files. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Place } from './place.ts'

const isWhole = (file: string): boolean => {
  try {
    JSON.parse(readFileSync(file, 'utf8'))
    return true
  } catch {
    return false
  }
}

/**
 * A state is written aside and moved into its place, but what the backend notes beside it (`.attrs`: its type and sum) is not; half of that keeps
 * the engine from reading the state ("failed to load checkpoint: EOF"). Without it the state is read as it is. Once no engine runs.
 */
export const dropHalfWritten = ({ engineDir }: Place): void => {
  const top = join(engineDir, '.pulumi')
  for (const dir of [top, join(top, 'stacks', 'forkyard')]) {
    if (!existsSync(dir)) continue
    for (const file of readdirSync(dir).filter((name) => name.endsWith('.attrs')))
      if (!isWhole(join(dir, file))) rmSync(join(dir, file))
  }
}
