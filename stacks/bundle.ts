/** One service as one file. The same sources give the same bytes, and so the same digest. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

export interface Bundle {
  /** First 16 hex digits of the SHA-256. */
  readonly digest: string
  /** In the cache. */
  readonly path: string
}

/** Dependencies in CommonJS ask for these at run time. */
const banner = [
  `import { createRequire as __createRequire } from 'node:module'`,
  `const require = __createRequire(import.meta.url)`,
  `const __filename = import.meta.filename`,
  `const __dirname = import.meta.dirname`,
].join('\n')

export const bundleService = async (entryPoint: string, root: string, cacheDir: string): Promise<Bundle> => {
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
  const contents = outputFiles[0]?.contents
  if (!contents) throw new Error(`${entryPoint}: the bundler made no file`)
  const digest = createHash('sha256').update(contents).digest('hex').slice(0, 16)
  const path = join(cacheDir, 'bundles', `${digest}.mjs`)
  if (!existsSync(path)) {
    mkdirSync(join(cacheDir, 'bundles'), { recursive: true })
    const partial = `${path}.${process.pid}`
    writeFileSync(partial, contents)
    renameSync(partial, path)
  }
  return { digest, path }
}
