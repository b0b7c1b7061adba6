/** From `folder/module.export.path` to the value that is exported. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { RuntimeError } from './error-body.ts'

export interface Loaded {
  readonly value: unknown
  /** What the value is a member of. */
  readonly owner: unknown
  /** Last part of the export path. */
  readonly exportName: string
}

const extensions = ['', '.js', '.mjs', '.cjs']

/** @throws RuntimeError with Lambda's name for what is wrong; what the module itself throws is thrown as it is. */
export const loadHandler = async (taskRoot: string, handler: string): Promise<Loaded> => {
  const [, folder = '', moduleName, exportPath] = /^((?:.*\/)?)([^/.]+)\.(.+)$/.exec(handler) ?? []
  if (moduleName === undefined || exportPath === undefined || handler.includes('..'))
    throw new RuntimeError('Runtime.MalformedHandlerName', `Bad handler: ${handler} is not of the form file.export`)
  const path = resolve(taskRoot, join(folder, moduleName))
  const file = extensions.map((extension) => path + extension).find((name) => isFile(name))
  if (file === undefined)
    throw new RuntimeError(
      'Runtime.ImportModuleError',
      `Error: Cannot find module '${join(folder, moduleName)}': none of ${extensions.slice(1).join(', ')} is in ${taskRoot}`,
    )
  return pick(await importModule(file), exportPath, handler)
}

const isFile = (path: string): boolean => existsSync(path) && !existsSync(`${path}/.`)

/** A CommonJS module's exports are what it assigned, an ES module's its namespace. `import` takes both, and top-level await. */
const importModule = async (file: string): Promise<object> => {
  try {
    const namespace = (await import(pathToFileURL(file).href)) as Record<string, unknown>
    const exported = 'module.exports' in namespace ? namespace['module.exports'] : namespace
    return Object(exported) as object
  } catch (error) {
    throw namedError(error)
  }
}

const missing = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'])

const namedError = (error: unknown): unknown => {
  if (!(error instanceof Error)) return error
  const wrap = (type: string) =>
    Object.assign(new RuntimeError(type, `${error.name}: ${error.message}`, { cause: error }), { stack: error.stack })
  if (error instanceof SyntaxError) return wrap('Runtime.UserCodeSyntaxError')
  return missing.has((error as NodeJS.ErrnoException).code ?? '') ? wrap('Runtime.ImportModuleError') : error
}

const pick = (exported: object, exportPath: string, handler: string): Loaded => {
  const names = exportPath.split('.')
  let owner: unknown = exported
  let value: unknown = exported
  for (const name of names) {
    owner = value
    value = (owner as Record<string, unknown> | null | undefined)?.[name]
  }
  // `module.exports = handler` is what an ES module would see as its default export.
  if (value === undefined && exportPath === 'default')
    return { value: exported, owner: undefined, exportName: 'default' }
  if (value === undefined) throw new RuntimeError('Runtime.HandlerNotFound', `${handler} is undefined or not exported`)
  return { value, owner, exportName: names.at(-1) as string }
}
