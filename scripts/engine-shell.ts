/** For people who run `pulumi` themselves, on the state and the configuration of `./scripts/up`. */
import { join } from 'node:path'
import { shellQuote } from '../stacks/shell-quote.ts'
import { enginePathPrefix, engineVariables } from './engine.ts'
import type { Place } from './place.ts'
import { repoRoot } from './setup/paths.ts'

/** For `eval`: `pulumi` is then `scripts/bin/pulumi`. */
export const exportLines = (place: Place): string => {
  const path = [join(repoRoot, 'scripts', 'bin'), ...enginePathPrefix()]
  const variables = Object.entries(engineVariables(place)).map(([name, value]) => `export ${name}=${shellQuote(value)}`)
  return `${variables.join('\n')}\nexport PATH=${path.map(shellQuote).join(':')}:"$PATH"\n`
}
