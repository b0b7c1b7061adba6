/** What each runtime adds to a root file system. */
import type { RuntimeName } from '../services/contracts/function.ts'
import { installNode } from './nodejs24.x/install.ts'
import { installInit } from './provided.al2023/install.ts'
import { installPython } from './python3.11/install.ts'

export interface Runtime {
  /** Debian packages; what they depend on comes along. */
  readonly packages: readonly string[]
  readonly install: (root: string) => Promise<void>
}

/** Handlers and their dependencies call programs, as they do on Amazon Linux. */
const base = [
  'base-files',
  'bash',
  'ca-certificates',
  'coreutils',
  'findutils',
  'grep',
  'libc-bin',
  'netbase',
  'sed',
  'tzdata',
]

export const runtimes: Readonly<Record<RuntimeName, Runtime>> = {
  'nodejs24.x': { packages: [...base, 'libgcc-s1', 'libstdc++6'], install: installNode },
  'provided.al2023': {
    packages: [...base, 'curl', 'gawk', 'gzip', 'libgcc-s1', 'libstdc++6', 'tar'],
    install: installInit,
  },
  'python3.11': {
    packages: [...base, 'libgcc-s1', 'libpython3.11-stdlib', 'libstdc++6', 'python3.11-minimal'],
    install: installPython,
  },
}
