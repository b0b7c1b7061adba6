/** The first process of a custom runtime, and the probe by which clones are compared. */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

/** Static: it runs on whatever C library a later image has, and has few pages to save. */
const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-static', '-s', '-Wl,--build-id=none']

/** @throws when the compiler fails; its message is on stderr. */
export const compileInit = (target: string): void => {
  const sources = ['init.c', 'node.c', 'forwarder.c'].map((name) => join(import.meta.dirname, 'init', name))
  execFileSync('gcc', [...flags, '-o', target, ...sources], { stdio: ['ignore', 'inherit', 'inherit'] })
}

export const installInit = async (root: string): Promise<void> => {
  const runtimeDir = join(root, 'var/runtime')
  compileInit(join(runtimeDir, 'init'))
  mkdirSync(join(runtimeDir, 'probe'))
  copyFileSync(join(import.meta.dirname, 'clone-probe.sh'), join(runtimeDir, 'probe', 'bootstrap'))
  chmodSync(join(runtimeDir, 'probe', 'bootstrap'), 0o755)
}
