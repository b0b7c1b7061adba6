/** For people who run `pulumi` themselves, on the state and the configuration of `./scripts/up`. */
import { join } from 'node:path'
import { enginePathPrefix, engineVariables } from './engine.ts'
import type { Place } from './place.ts'
import { repoRoot } from './setup/paths.ts'

const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

/** For `eval`: `pulumi` is then `scripts/bin/pulumi`. */
export const exportLines = (place: Place): string => {
  const path = [join(repoRoot, 'scripts', 'bin'), ...enginePathPrefix()]
  const variables = Object.entries(engineVariables(place)).map(([name, value]) => `export ${name}=${quote(value)}`)
  return `${variables.join('\n')}\nexport PATH=${path.map(quote).join(':')}:"$PATH"\n`
}
