/** A Python project goes into the archive as it is; what it needs lies beside it, as `pip install --target .` puts it. */
import type { ArchiveFile } from './archive.ts'
import { CliError } from './cli-error.ts'
import { filesUnder } from './files-under.ts'
import { projectFileName, type ProjectFile } from './project-file.ts'

const modules = ['lambda_function', 'index', 'handler', 'main', 'app']
const functions = ['lambda_handler', 'handler']

/** What tools leave behind, often with links that lead out of the project. */
const leftOut = new Set(['__pycache__', '.venv', 'venv', '.pytest_cache', '.mypy_cache', '.ruff_cache'])

/** @throws CliError that says what to name when no handler is found. */
export const bundlePython = async (
  directory: string,
  project: ProjectFile,
): Promise<{ readonly handler: string; readonly files: readonly ArchiveFile[] }> => {
  const all = await filesUnder(directory, '', leftOut)
  const files = all.filter(({ path }) => path !== projectFileName)
  return { handler: findHandler(project, files, directory), files }
}

/** `module.function` as it is; a lone `function` is one of the module that would be taken anyway. */
const findHandler = ({ handler, entry }: ProjectFile, files: readonly ArchiveFile[], directory: string): string => {
  if (handler?.includes('.')) return handler
  const candidates = entry === undefined ? modules.map((name) => `${name}.py`) : [entry]
  const source = candidates.flatMap((path) => files.find((file) => file.path === path) ?? [])[0]
  if (!source)
    throw new CliError(
      `${directory} has none of ${candidates.join(', ')}; name the handler as "handler": "module.function" in ${projectFileName}`,
    )
  const module = source.path.replace(/\.py$/, '').replaceAll('/', '.')
  if (handler !== undefined) return `${module}.${handler}`
  const text = Buffer.from(source.content).toString()
  const found = functions.find((name) => new RegExp(`^(?:def +${name}\\b|${name} *=)`, 'm').test(text))
  if (!found)
    throw new CliError(`${source.path} has no function named ${functions.join(' or ')} at its top; use --handler`)
  return `${module}.${found}`
}
