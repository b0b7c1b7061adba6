/** One service as one file. The same sources give the same bytes, and so the same digest. */
import { createHash } from 'node:crypto'
import { build } from 'esbuild'

export interface Bundle {
  /** Lower-case hex. */
  readonly sha256: string
  /** Its first 16 digits. */
  readonly digest: string
  readonly code: string
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
  const { outputFiles } = await build({
    entryPoints: [entryPoint],
    absWorkingDir: root,
    bundle: true,
    write: false,
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
  return { sha256, digest: sha256.slice(0, 16), code }
}
