/** From a directory to the files of a function's archive. */
import { existsSync, readdirSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { build, type BuildOptions, type Message } from 'esbuild'
import type { RuntimeName } from '../contracts/function.ts'
import type { ArchiveFile } from './archive.ts'
import { bundlePython } from './bundle-python.ts'
import { CliError } from './cli-error.ts'
import { filesUnder, readOne } from './files-under.ts'
import { projectFileName, type ProjectFile } from './project-file.ts'

export interface Bundle {
  readonly runtime: RuntimeName
  readonly handler: string
  readonly files: readonly ArchiveFile[]
}

const extensions = ['ts', 'mts', 'tsx', 'js', 'mjs', 'cjs']
const entries = ['index', 'src/index', 'handler', 'main'].flatMap((name) =>
  extensions.map((extension) => `${name}.${extension}`),
)
/** In this order: a Lambda handler, a `fetch` module, a CloudEvents function. */
const handlerExports = ['handler', 'default', 'cloudEvent']

/** CommonJS dependencies call `require`, which ES modules do not have. */
const requireBanner =
  "import { createRequire as __forkyardCreateRequire } from 'node:module'; globalThis.require ??= __forkyardCreateRequire(import.meta.url);"

/** @throws CliError that names what is missing, or esbuild's errors with file and line. */
export const bundleFunction = async (directory: string, project: ProjectFile): Promise<Bundle> => {
  const isDirectory = await stat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  )
  if (!isDirectory) throw new CliError(`${directory} is not a directory`)
  const runtime = project.runtime ?? guessRuntime(directory, project)
  if (runtime === 'provided.al2023') return bundleCustom(directory, project)
  if (runtime === 'python3.11') return { runtime, ...(await bundlePython(directory, project)) }
  return bundleNode(directory, project)
}

/** A module that Node.js could start from wins over Python's: helpers in Python may lie beside it. */
const guessRuntime = (directory: string, { entry }: ProjectFile): RuntimeName => {
  if (existsSync(join(directory, 'bootstrap'))) return 'provided.al2023'
  if (entry !== undefined) return entry.endsWith('.py') ? 'python3.11' : 'nodejs24.x'
  if (entries.some((path) => existsSync(join(directory, path)))) return 'nodejs24.x'
  return readdirSync(directory).some((name) => name.endsWith('.py')) ? 'python3.11' : 'nodejs24.x'
}

const bundleNode = async (directory: string, project: ProjectFile): Promise<Bundle> => {
  const [wantedModule, wantedExport] = splitHandler(project.handler)
  const candidates = wantedModule ? extensions.map((extension) => `${wantedModule}.${extension}`) : []
  const entry = project.entry ?? [...candidates, ...entries].find((path) => existsSync(join(directory, path)))
  if (!entry)
    throw new CliError(`${directory} has no index.ts or index.js; name the module as "entry" in ${projectFileName}`)
  const source = resolve(directory, entry)
  const entryPath = relative(resolve(directory), source)
  const first = await bundleModule(directory, { entryPoints: [source] })
  const isCommonJs = first.metafile.inputs[entryPath]?.format === 'cjs'
  // A CommonJS module's exports are not known before it runs: the one that is the handler gets a name here.
  const name = isCommonJs ? (wantedExport ?? 'handler') : undefined
  const { outputFiles, metafile } =
    name && name !== 'default'
      ? await bundleModule(directory, {
          stdin: {
            contents: `import module from ${JSON.stringify(`./${entryPath}`)}\nexport const ${name} = module.${name}\n`,
            resolveDir: resolve(directory),
          },
        })
      : first
  const exported = metafile.outputs['index.mjs']?.exports ?? []
  const handler = `index.${wantedExport ?? defaultExport(exported, entry)}`
  const built = outputFiles.map(({ path, contents }) => ({
    path: relative(resolve(directory), path),
    content: contents,
    executable: false,
  }))
  return { runtime: 'nodejs24.x', handler, files: [...built, ...(await included(directory, project))] }
}

/** `src/app.main` -> module and export, as in Lambda; in the archive the module is called `index`. */
const splitHandler = (handler: string | undefined): readonly (string | undefined)[] => {
  const at = handler?.lastIndexOf('.') ?? -1
  return handler === undefined ? [] : at < 0 ? [undefined, handler] : [handler.slice(0, at), handler.slice(at + 1)]
}

const bundleModule = async (directory: string, input: Pick<BuildOptions, 'entryPoints' | 'stdin'>) =>
  build({
    ...input,
    absWorkingDir: resolve(directory),
    outfile: 'index.mjs',
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    sourcemap: 'linked',
    banner: { js: requireBanner },
    logLevel: 'silent',
  }).catch((error: unknown) => {
    throw new CliError(`the code does not build:\n${buildErrors(error)}`, 1, { cause: error })
  })

const defaultExport = (exported: readonly string[], entry: string): string => {
  const name = handlerExports.find((candidate) => exported.includes(candidate))
  if (name) return name
  throw new CliError(
    `${entry} exports none of ${handlerExports.join(', ')} (found: ${exported.join(', ') || 'nothing'}); use --handler`,
  )
}

const buildErrors = (error: unknown): string => {
  const { errors } = error as { errors?: readonly Message[] }
  if (!errors) return String(error)
  return errors
    .map(({ text, location }) => (location ? `${location.file}:${location.line}:${location.column}: ${text}` : text))
    .join('\n')
}

const bundleCustom = async (directory: string, project: ProjectFile): Promise<Bundle> => {
  const files = await filesUnder(directory, '')
  const wanted = files.filter(({ path }) => path !== projectFileName)
  if (!wanted.some(({ path }) => path === 'bootstrap'))
    throw new CliError(`${directory} has no executable named bootstrap, which provided.al2023 starts`)
  return {
    runtime: 'provided.al2023',
    handler: project.handler ?? 'bootstrap',
    files: wanted.map((file) => (file.path === 'bootstrap' ? { ...file, executable: true } : file)),
  }
}

const included = async (directory: string, project: ProjectFile): Promise<ArchiveFile[]> => {
  const lists = await Promise.all(
    (project.include ?? []).map(async (path) => {
      const inside = relative(resolve(directory), resolve(directory, path))
      if (inside.startsWith('..')) throw new CliError(`include: ${path} is outside ${directory}`)
      const found = await stat(join(directory, inside)).catch(() => {
        throw new CliError(`include: ${path} does not exist`)
      })
      return found.isDirectory() ? filesUnder(directory, inside) : [await readOne(directory, inside)]
    }),
  )
  return lists.flat()
}
