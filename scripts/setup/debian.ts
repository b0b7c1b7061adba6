/** Debian packages that the platform stands on. Only what is missing is installed, in one call. */
import { run, type RunOptions } from './run.ts'

/** What each is for: supervisor; images; runtime root file systems; the agent's addon and its filter; process control of the services. */
export const platformPackages = [
  'runit',
  'erofs-utils',
  'mmdebstrap',
  'gcc',
  'libc6-dev',
  'clang',
  'libbpf-dev',
  'bpftool',
  'nftables',
  'make',
  'util-linux',
  'iproute2',
  'ca-certificates',
] as const

const installed = async (): Promise<Set<string>> => {
  const table = await run('dpkg-query', ['-W', '-f', '${db:Status-Abbrev}${Package}\n'])
  const lines = table.split('\n').filter((line) => line.startsWith('ii '))
  return new Set(lines.map((line) => line.slice(3).trim()))
}

export const missingPackages = async (wanted: readonly string[] = platformPackages): Promise<string[]> => {
  const present = await installed()
  return wanted.filter((name) => !present.has(name))
}

/** Refreshes the package lists only when they do not know, or no longer lead to, what is asked for. @throws CommandError with apt's own words. */
export const aptGet = async (args: readonly string[], options: RunOptions): Promise<void> => {
  try {
    await run('apt-get', args, options)
  } catch {
    await run('apt-get', ['update', '-o', 'DPkg::Lock::Timeout=120'], options)
    await run('apt-get', args, options)
  }
}

/** @throws CommandError with apt's own words. */
export const installPackages = async (names: readonly string[], onLine?: (line: string) => void): Promise<void> => {
  const options: RunOptions = {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    timeoutMs: 15 * 60_000,
    ...(onLine ? { onLine } : {}),
  }
  // No service of a package is started: the installation runs its own supervisors.
  await aptGet(['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...names], options)
}
