/**
 * Compiles the agent's addon: `node services/node-agent/native/build.ts --out DIR` prints `{"addonPath","digest"}`. The eBPF program of
 * `network/filter` is compiled first and lies in it. The file is named by the digest of sources and compiler flags, so an unchanged
 * addon is never built twice.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const calls = ['host-calls.c', 'network-calls.c', 'load-filter.c', 'trace-calls.c'].map((name) =>
  join(import.meta.dirname, name),
)
const filterDir = join(import.meta.dirname, '..', 'network', 'filter')
const filter = join(filterDir, 'filter.c')
const headers = ['layout.h', 'maps.h', 'packet.h', 'buckets.h', 'tell.h', 'judge.h'].map((name) =>
  join(filterDir, name),
)
const included = [join(import.meta.dirname, 'host-calls.h'), ...headers]
const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden']
// Debian has the kernel's own headers by architecture, where gcc looks and a compiler for another machine does not.
const filterFlags = ['-O2', '-g', '-Wall', '-Werror', '-target', 'bpf', '-I/usr/include/x86_64-linux-gnu']

export const addonDigest = (): string => {
  const hash = createHash('sha256')
  for (const file of [...calls, filter, ...included]) hash.update(readFileSync(file))
  return hash
    .update([...flags, ...filterFlags].join(' '))
    .digest('hex')
    .slice(0, 16)
}

/** @throws when a compiler fails; its message is on stderr. */
const compile = (program: string, args: readonly string[]): void => {
  execFileSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
}

/** A header that holds the program and loads it: no host needs a compiler or `bpftool`. */
const makeSkeleton = (object: string, header: string): void => {
  const skeleton = execFileSync('bpftool', ['gen', 'skeleton', '-L', object, 'name', 'filter'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  })
  writeFileSync(header, skeleton)
}

/** @returns the addon's path in `outDir`. @throws when a compiler fails. */
export const buildAddon = (outDir: string): string => {
  const target = join(resolve(outDir), `host-calls-${addonDigest()}.node`)
  if (existsSync(target)) return target
  mkdirSync(outDir, { recursive: true })
  const nodeHeaders = join(dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')), 'include')
  const partial = `${target}.${process.pid}`
  const generated = `${partial}.d`
  mkdirSync(generated)
  try {
    const object = join(generated, 'filter.o')
    compile('clang', [...filterFlags, '-c', filter, '-o', object])
    makeSkeleton(object, join(generated, 'filter.lskel.h'))
    compile('gcc', [...flags, `-I${nodeHeaders}`, '-isystem', generated, '-o', partial, ...calls])
    renameSync(partial, target)
  } finally {
    rmSync(generated, { recursive: true, force: true })
  }
  return target
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string' } } })
  if (!values.out) throw new Error('the option --out DIR is required')
  process.stdout.write(`${JSON.stringify({ addonPath: buildAddon(values.out), digest: addonDigest() })}\n`)
}
