/** Where a stack and its installation keep what lasts. Nothing of it lies in the cache or in the git tree. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { targets } from '../stacks/config.ts'
import { writeFileIfChanged } from '../stacks/host-scripts/write-file.ts'
import { repoRoot } from './setup/paths.ts'

export const Premises = Type.Object({
  installation: Type.String(),
  stateDir: Type.String(),
  runDir: Type.String(),
  /** Absent: local. */
  target: Type.Optional(Type.Enum(targets)),
})
/** What has to be known to take an installation away without the engine, which is possible on this machine alone. */
export type Premises = Static<typeof Premises>

export interface Place {
  readonly stack: string
  /** Of the engine: passphrase, merged configuration, and the backend with the state of every stack. */
  readonly engineDir: string
  /** The tree whose program is run. Default this one. */
  readonly tree?: string
  /** The stack's configuration as people edit it (YAML). */
  readonly configText: () => string
}

export const localPlace = (stack = 'local'): Place => ({
  stack,
  engineDir: '/var/lib/forkyard/.pulumi',
  configText: () => {
    const file = join(repoRoot, 'stacks', `Pulumi.${stack}.yaml`)
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  },
})

export const passphraseFile = ({ engineDir }: Place): string => join(engineDir, 'passphrase')
export const stateFile = ({ engineDir, stack }: Place): string =>
  join(engineDir, '.pulumi', 'stacks', 'forkyard', `${stack}.json`)
export const configFile = ({ engineDir, stack }: Place): string => join(engineDir, `Pulumi.${stack}.yaml`)
export const recordFile = ({ engineDir, stack }: Place): string => join(engineDir, `${stack}.json`)

export const recordPremises = (place: Place, { installation, stateDir, runDir, target }: Premises): void => {
  mkdirSync(place.engineDir, { recursive: true, mode: 0o700 })
  writeFileIfChanged(recordFile(place), JSON.stringify({ installation, stateDir, runDir, target }))
}

/** What the last `up` recorded; without that, what an installation of this name has by default. */
export const findPremises = (place: Place): Premises => {
  try {
    return Value.Parse(Premises, JSON.parse(readFileSync(recordFile(place), 'utf8')))
  } catch {
    const installation = place.stack
    return { installation, stateDir: `/var/lib/forkyard/${installation}`, runDir: `/run/forkyard/${installation}` }
  }
}
