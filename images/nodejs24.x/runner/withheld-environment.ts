/**
 * While a function is initialised in order to be saved, its secrets are not in its environment: what is read then would be in the
 * checkpoint's pages. Whoever asks for the value of one is noticed, and not saved; whoever only lists the names is not.
 */
import { syncBuiltinESMExports } from 'node:module'

export interface WithheldEnvironment {
  /** Names whose values were asked for. */
  readonly read: ReadonlySet<string>
  /** The variables of the instance; what the function itself has set or removed since stays as it is. */
  restore(environment: Readonly<Record<string, string>>): void
}

/** What is told to a clone about itself, and was something else in the process that was saved. */
const identity = ['AWS_LAMBDA_LOG_STREAM_NAME']

export const withholdEnvironment = (names: readonly string[]): WithheldEnvironment => {
  const real = process.env
  const read = new Set<string>()
  const withheld = new Set<string | symbol>(names)
  const watched = new Proxy(real, {
    get: (target, name) => {
      if (withheld.has(name)) read.add(String(name))
      return Reflect.get(target, name) as unknown
    },
    has: (target, name) => withheld.has(name) || Reflect.has(target, name),
    ownKeys: (target) => [...new Set([...Reflect.ownKeys(target), ...withheld])],
    // Asked for each name when names are listed, so that it proves nothing; whoever wants the value goes through `get`.
    getOwnPropertyDescriptor: (target, name) =>
      withheld.has(name)
        ? { value: '', writable: true, enumerable: true, configurable: true }
        : Reflect.getOwnPropertyDescriptor(target, name),
    // What the function sets or removes is its own from then on.
    set: (target, name, value) => {
      withheld.delete(name)
      return Reflect.set(target, name, value)
    },
    defineProperty: (target, name, property) => {
      withheld.delete(name)
      return Reflect.defineProperty(target, name, property)
    },
    deleteProperty: (target, name) => {
      withheld.delete(name)
      return Reflect.deleteProperty(target, name)
    },
  })
  install(watched)
  return {
    read,
    restore: (environment) => {
      const late = [...names.filter((name) => withheld.has(name)), ...identity]
      // What kept the watched one goes on with it, and finds everything there.
      withheld.clear()
      for (const name of late) if (environment[name] !== undefined) real[name] = environment[name]
      if (process.env === watched) install(real)
    },
  }
}

const install = (environment: NodeJS.ProcessEnv): void => {
  process.env = environment
  syncBuiltinESMExports()
}
