/** The runner and the compiled standard library, where AWS Lambda has them. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { compileShared, forkLimitsSources } from '../native/compile.ts'

const library = 'usr/lib/python3.11'

/** What only people at a terminal and Debian's bug reports use. */
const unwanted = ['idlelib', 'turtledemo', 'pydoc_data', 'ensurepip', 'sitecustomize.py'].map((name) =>
  join(library, name),
)

/** Copies sources alone: bytecode of another interpreter has no business in an image. */
export const copyRunner = (dir: string): void => {
  for (const name of ['runner', 'probe'])
    cpSync(join(import.meta.dirname, name), name === 'runner' ? dir : join(dir, name), {
      recursive: true,
      filter: (source) => basename(source) !== '__pycache__',
    })
}

/** @throws when the compiler fails. */
export const compileForkLimits = (dir: string): void => compileShared(join(dir, 'fork-limits.so'), forkLimitsSources)

export const installPython = async (root: string): Promise<void> => {
  for (const path of [...unwanted, 'etc/python3.11']) rmSync(join(root, path), { recursive: true, force: true })
  copyRunner(join(root, 'var/runtime'))
  compileForkLimits(join(root, 'var/runtime'))
  mkdirSync(join(root, 'var/lang/bin'), { recursive: true })
  for (const name of ['python3.11', 'python3', 'python'])
    symlinkSync('/usr/bin/python3.11', join(root, 'var/lang/bin', name))
  symlinkSync('python3.11', join(root, 'usr/bin/python3'))
  // Debian compiles when a package is installed, which this one never is. By the image's own interpreter, and valid without a look
  // at the sources, whose times an image does not keep.
  execFileSync(
    'chroot',
    [
      root,
      '/usr/bin/python3.11',
      '-m',
      'compileall',
      '-q',
      '--invalidation-mode',
      'unchecked-hash',
      '/usr/lib/python3.11',
      '/var/runtime',
    ],
    {
      env: { PYTHONHASHSEED: '0', LANG: 'C.UTF-8', PATH: '/usr/sbin:/usr/bin' },
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  )
}
