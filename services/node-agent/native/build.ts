/**
 * Compiles the agent's addon: `node services/node-agent/native/build.ts --out DIR` prints `{"addonPath","digest"}`.
 * The file is named by the digest of source and compiler flags, so an unchanged addon is never built twice.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const source = join(import.meta.dirname, 'host-calls.c')
const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden']

export const addonDigest = (): string =>
  createHash('sha256').update(readFileSync(source)).update(flags.join(' ')).digest('hex').slice(0, 16)

/** @returns the addon's path in `outDir`. @throws when the compiler fails; its message is on stderr. */
export const buildAddon = (outDir: string): string => {
  const target = join(resolve(outDir), `host-calls-${addonDigest()}.node`)
  if (existsSync(target)) return target
  mkdirSync(outDir, { recursive: true })
  const headers = join(dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')), 'include')
  const partial = `${target}.${process.pid}`
  execFileSync('gcc', [...flags, `-I${headers}`, '-o', partial, source], { stdio: ['ignore', 'inherit', 'inherit'] })
  renameSync(partial, target)
  return target
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string' } } })
  if (!values.out) throw new Error('the option --out DIR is required')
  process.stdout.write(`${JSON.stringify({ addonPath: buildAddon(values.out), digest: addonDigest() })}\n`)
}
