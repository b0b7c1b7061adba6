/** The code of a function with packages in it, as a deployment makes it. */
import { build } from 'esbuild'

/** @param code of an ES module, which may import what the repository has installed */
export const bundled = async (code: string): Promise<Record<string, string>> => {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: import.meta.dirname, loader: 'js' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    write: false,
    // Packages of CommonJS call `require` of Node.js' own modules.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    external: ['pg-native'],
    logLevel: 'silent',
  })
  return { 'index.mjs': outputFiles[0]?.text ?? '' }
}
