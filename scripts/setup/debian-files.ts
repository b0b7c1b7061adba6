/** Files of Debian packages in a directory, with nothing installed: the machine's own apt fetches and checks them, no script of theirs runs. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileDigest } from '../../services/node-agent/file-digests.ts'
import { aptGet } from './debian.ts'
import { run } from './run.ts'

export interface DebianPackage {
  readonly name: string
  readonly version: string
  /** SHA-256 of the `.deb`, lower-case hex. */
  readonly sha256: string
}

/**
 * Extracts exactly these packages, without what they depend on, in their order.
 * @param root made if it is not there @throws CommandError with apt's own words
 */
export const extractDebianFiles = async (names: readonly string[], root: string): Promise<DebianPackage[]> => {
  const downloads = `${root}.debs`
  rmSync(downloads, { recursive: true, force: true })
  for (const dir of [root, downloads]) mkdirSync(dir, { recursive: true })
  try {
    // apt would give up its rights, and could not write to a directory of root's.
    await aptGet(['download', '-q', '-o', 'APT::Sandbox::User=root', ...names], { cwd: downloads })
    const packages: DebianPackage[] = []
    for (const file of readdirSync(downloads).toSorted()) {
      const path = join(downloads, file)
      const [name = '', version = ''] = file.split('_')
      packages.push({ name, version: decodeURIComponent(version), sha256: await fileDigest(path) })
      await run('dpkg-deb', ['-x', path, root])
    }
    return packages
  } finally {
    rmSync(downloads, { recursive: true, force: true })
  }
}
