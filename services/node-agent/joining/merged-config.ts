/** The configuration of a node that joined: what the installation says of it, and what is its machine's. Pure. */
import { isDeepStrictEqual } from 'node:util'

/** All others are the installation's. */
const ofMachine = [
  'listen',
  'tls',
  'stateDir',
  'runDir',
  'runscPath',
  'addonPath',
  'cgroupParent',
  'runtimes',
  'capacity',
] as const

export type MachineConfig = Readonly<Record<string, unknown>>

const partOf = (config: MachineConfig): MachineConfig =>
  Object.fromEntries(ofMachine.filter((name) => name in config).map((name) => [name, config[name]]))

/** @param said by the installation @param before whose members of the machine stay */
export const mergedConfig = (said: MachineConfig, before: MachineConfig): MachineConfig => ({
  ...said,
  ...partOf(before),
})

/** @returns what it is from now on, where that is something else than `before` */
export const changedConfig = (said: MachineConfig, before: MachineConfig): MachineConfig | undefined => {
  const merged = mergedConfig(said, before)
  return isDeepStrictEqual(merged, before) ? undefined : merged
}
