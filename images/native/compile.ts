/** Shared objects in the images. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden', '-Wl,--build-id=none']

/** For every runtime that can be forked. */
export const forkLimitsSources = ['fork-watch.c', 'fork-surroundings.c'].map((name) => join(import.meta.dirname, name))

/** @throws when the compiler fails; its message is on stderr. */
export const compileShared = (target: string, sources: readonly string[], extra: readonly string[] = []): void => {
  execFileSync('gcc', [...flags, ...extra, '-o', target, ...sources], { stdio: ['ignore', 'inherit', 'inherit'] })
}
