/** One service as one file. The same sources give the same bytes, and so the same digest. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

export interface Bundle {
  /** Lower-case hex. */
  readonly sha256: string
  /** Its first 16 digits. */
  readonly digest: string
  readonly code: string
  /** npm packages of which something is in it: `name@version`, sorted. */
  readonly packages: readonly string[]
}

/** Dependencies in CommonJS ask for these at run time. */
const banner = [
  `import { createRequire as __createRequire } from 'node:module'`,
  `const require = __createRequire(import.meta.url)`,
  `const __filename = import.meta.filename`,
  `const __dirname = import.meta.dirname`,
].join('\n')

/** In memory only: a preview bundles as well, and leaves no trace. @throws esbuild's errors with file and line. */
export const bundleService = async (entryPoint: string, root: string): Promise<Bundle> => {
  const { outputFiles, metafile } = await build({
    entryPoints: [entryPoint],
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    banner: { js: banner },
    // Only the entry point is ever run, and that by name; a module's own command line must not wake up in the bundle.
    define: { 'import.meta.main': 'false' },
    legalComments: 'none',
    logLevel: 'silent',
  })
  const code = outputFiles[0]?.text
  if (code === undefined) throw new Error(`${entryPoint}: the bundler made no file`)
  const sha256 = createHash('sha256').update(code).digest('hex')
  return { sha256, digest: sha256.slice(0, 16), code, packages: packagesOf(Object.keys(metafile.inputs), root) }
}

/** @param inputs paths as esbuild has them, relative to `root` */
const packagesOf = (inputs: readonly string[], root: string): string[] => {
  const folders = inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [])
  return [...new Set(folders)]
    .map((folder) => {
      const { name, version } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as {
        name: string
        version: string
      }
      return `${name}@${version}`
    })
    .toSorted()
}
