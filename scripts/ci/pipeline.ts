/** What the steps of a pipeline know. */
import { join } from 'node:path'
import { repoRoot } from '../setup/paths.ts'

/** What must never be configured; the engine refuses it. */
export const policyPack = join(repoRoot, 'stacks', 'policy')

/** @param text of `pulumi stack export` @returns whether the last engine ended, by force, in the middle of something */
export const wasExportedInterrupted = (text: string): boolean => {
  const { deployment } = JSON.parse(text) as { deployment?: { pending_operations?: unknown[] } }
  return (deployment?.pending_operations ?? []).length > 0
}
