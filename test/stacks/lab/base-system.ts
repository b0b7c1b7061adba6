/** A bare Debian with systemd and sshd and nothing else, as a directory in the cache: every host of a lab begins as a copy of it. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages, missingPackages } from '../../../scripts/setup/debian.ts'
import { cacheDir } from '../../../scripts/setup/paths.ts'
import { run } from '../../../scripts/setup/run.ts'

/** Of the machine that runs the tests. */
const labPackages = ['mmdebstrap', 'systemd-container', 'nftables', 'openssh-client', 'openssl', 'iproute2']

const suite = 'bookworm'
const packages = ['systemd', 'systemd-sysv', 'dbus', 'openssh-server', 'iproute2', 'ca-certificates', 'sudo']

export const provideBaseSystem = async (): Promise<string> => {
  const missing = await missingPackages(labPackages)
  if (missing.length > 0) await installPackages(missing)
  const dir = join(cacheDir(), 'lab', `${suite}-2`)
  if (existsSync(dir)) return dir
  const partial = `${dir}.${process.pid}`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(join(cacheDir(), 'lab'), { recursive: true })
  try {
    const args = ['--variant=minbase', `--include=${packages.join(',')}`, suite, partial]
    await run('mmdebstrap', args, { timeoutMs: 10 * 60_000 })
    // Each host makes keys of its own.
    for (const type of ['rsa', 'ecdsa', 'ed25519'])
      for (const end of ['', '.pub']) rmSync(join(partial, `etc/ssh/ssh_host_${type}_key${end}`), { force: true })
    renameSync(partial, dir)
    return dir
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}
