/**
 * The directory of a test that makes an installation on the machine itself. It says what the installation is and whose, so that the next run can
 * take away what a killed one left.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { abandonedDirs, makeOwnedDir } from '../../../scripts/owned-dir.ts'
import { removeLeftovers, type InstallationRef } from '../../../stacks/host-scripts/leftovers.ts'
import { removeUnits } from '../../../stacks/host-scripts/systemd.ts'

const prefix = 'forkyard-installed-'
const installationFile = (dir: string): string => join(dir, 'installation.json')

export const claimDir = (name: string): string => {
  const dir = join(tmpdir(), `${prefix}${name}`)
  makeOwnedDir(dir)
  return dir
}

/** To be called before anything of it is made. */
export const claimInstallation = (dir: string, { installation, stateDir, runDir }: InstallationRef): void =>
  writeFileSync(installationFile(dir), JSON.stringify({ installation, stateDir, runDir } satisfies InstallationRef))

/** With the installation that is claimed in it. */
export const removeClaimedDir = async (dir: string): Promise<void> => {
  if (existsSync(installationFile(dir))) {
    const ref = JSON.parse(readFileSync(installationFile(dir), 'utf8')) as InstallationRef
    await removeUnits(ref.installation)
    await removeLeftovers(ref)
  }
  rmSync(dir, { recursive: true, force: true })
}

export const removeAbandonedDirs = async (): Promise<void> => {
  for (const name of abandonedDirs(tmpdir(), prefix)) {
    const dir = join(tmpdir(), `${prefix}${name}`)
    // An engine would go on making things.
    for (const pid of processesNaming(dir)) process.kill(pid, 'SIGKILL')
    await removeClaimedDir(dir)
  }
}

/** Those that were told the directory, as a word of their command or in their environment. */
const processesNaming = (dir: string): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && ['cmdline', 'environ'].some((file) => names(pid, file, dir)))

const names = (pid: number, file: string, dir: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
      .split('\0')
      .some((word) => word.includes(`${dir}/`) || word.endsWith(dir))
  } catch {
    // Gone, or a thread of the kernel.
    return false
  }
}
