/** The process's surroundings become the function's. */
import module, { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { logLine } from './console.ts'

export const applyEnvironment = (environment: Readonly<Record<string, string>>): void => {
  for (const name of Object.keys(process.env)) if (!(name in environment) && name !== 'HOME') delete process.env[name]
  Object.assign(process.env, environment)
  const taskRoot = environment['LAMBDA_TASK_ROOT'] ?? '/var/task'
  process.env['NODE_PATH'] ??= `${taskRoot}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:${taskRoot}`
  // oxlint-disable-next-line no-underscore-dangle -- the only way to make the loader read NODE_PATH again
  ;(module as unknown as { _initPaths(): void })._initPaths()
  process.chdir(taskRoot)
}

/** The options of NODE_OPTIONS that make sense in a process that already runs; the others are named in the log. */
export const applyNodeOptions = async (text: string | undefined): Promise<void> => {
  const words = text?.split(/\s+/).filter(Boolean) ?? []
  const base = pathToFileURL(`${process.cwd()}/`)
  const ignored: string[] = []
  while (words.length > 0) {
    const [option = '', inline] = (words.shift() as string).split(/=(.*)/s)
    const value = () => inline ?? words.shift() ?? ''
    if (option === '--enable-source-maps') process.setSourceMapsEnabled(true)
    else if (option === '-r' || option === '--require') createRequire(base)(value())
    else if (option === '--import') await import(resolveImport(value(), base))
    else ignored.push(option)
  }
  if (ignored.length > 0) logLine('WARN', `NODE_OPTIONS: no effect in this runtime: ${ignored.join(' ')}`)
}

const resolveImport = (specifier: string, base: URL): string =>
  /^[./]/.test(specifier) ? new URL(specifier, base).href : pathToFileURL(createRequire(base).resolve(specifier)).href
