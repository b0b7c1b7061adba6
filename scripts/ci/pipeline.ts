/** What the steps of a pipeline know. */
import { join } from 'node:path'
import { repoRoot } from '../setup/paths.ts'

/** What must never be configured; the engine refuses it. */
export const policyPack = join(repoRoot, 'stacks', 'policy')
