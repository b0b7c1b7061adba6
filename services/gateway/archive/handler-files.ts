/** Does the archive hold what the runtime will look for? Said at deploy time, not at the first invocation. */
import { PlatformError } from '../../contracts/errors.ts'
import { runtimeNames, type RuntimeName } from '../../contracts/function.ts'
import type { ArchiveFile } from './read-archive.ts'

/** @throws PlatformError UNKNOWN_RUNTIME listing those that are there. */
export const checkRuntime = (runtime: string): RuntimeName => {
  const known = runtimeNames.find((name) => name === runtime)
  if (known) return known
  throw new PlatformError(
    'UNKNOWN_RUNTIME',
    `Value ${runtime.slice(0, 64)} at 'runtime' failed to satisfy constraint: Member must be one of [${runtimeNames.join(', ')}]`,
    { supported: runtimeNames },
  )
}

interface ModuleRule {
  readonly form: string
  /** Its first group is the module. */
  readonly pattern: RegExp
  readonly wantedFor: (module: string) => string[]
}

const modules: Readonly<Record<Exclude<RuntimeName, 'provided.al2023'>, ModuleRule>> = {
  'nodejs24.x': {
    form: 'file.export',
    pattern: /^((?:[^/]+\/)*[^/.]+)\.[^/]+$/,
    wantedFor: (module) => ['.js', '.mjs', '.cjs'].map((extension) => module + extension),
  },
  'python3.11': {
    form: 'module.function',
    pattern: /^([^/.]+(?:[/.][^/.]+)*)\.[^/.]+$/,
    wantedFor: (module) => ['.py', '/__init__.py', '.pyc'].map((extension) => module.replaceAll('.', '/') + extension),
  },
}

/** @throws PlatformError INVALID_REQUEST naming the file that is missing. */
export const checkHandler = (runtime: RuntimeName, handler: string, files: readonly ArchiveFile[]): void => {
  if (runtime === 'provided.al2023') return checkBootstrap(files)
  const { form, pattern, wantedFor } = modules[runtime]
  const [, module] = pattern.exec(handler) ?? []
  if (module === undefined)
    throw new PlatformError('INVALID_REQUEST', `handler '${handler.slice(0, 128)}' must be of the form ${form}`, {
      handler: handler.slice(0, 128),
    })
  const wanted = wantedFor(module)
  const paths = new Set(files.map(({ path }) => path))
  if (wanted.some((path) => paths.has(path))) return
  throw new PlatformError(
    'INVALID_REQUEST',
    `handler '${handler}' needs one of the files ${wanted.join(', ')} in the archive, and none is there`,
    { handler, wanted },
  )
}

const checkBootstrap = (files: readonly ArchiveFile[]): void => {
  const bootstrap = files.find(({ path }) => path === 'bootstrap')
  if (!bootstrap)
    throw new PlatformError(
      'INVALID_REQUEST',
      "runtime provided.al2023 needs a file 'bootstrap' at the top of the archive",
    )
  if (!bootstrap.executable)
    throw new PlatformError(
      'INVALID_REQUEST',
      "the file 'bootstrap' is not executable: run chmod +x bootstrap, then zip again on a system that keeps the mode",
    )
}
