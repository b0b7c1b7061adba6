/** What must never be configured, by whatever way: pure functions of one resource, so that tests can show what each refuses. */
import { commandRules } from './command-rules.ts'
import { workloadRules } from './workload-rules.ts'

export interface Subject {
  readonly type: string
  readonly name: string
  /** As the engine would make it. Reading what a preview cannot know throws. */
  readonly props: object
  /** The engine refuses to delete it. */
  readonly isProtected: boolean
  /** Of the stack, by full key. */
  readonly config: Readonly<Record<string, string>>
}

export interface Rule {
  readonly name: string
  readonly description: string
  /** @returns a line for each violation */
  readonly check: (subject: Subject) => string[]
}

export const rules: readonly Rule[] = [...commandRules, ...workloadRules]
