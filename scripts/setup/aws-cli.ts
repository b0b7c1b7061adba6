/** The AWS CLI, from PyPI: a client that somebody else wrote, for the end-to-end tests. Nothing of the platform needs it. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages } from './debian.ts'
import { cacheDir, repoRoot } from './paths.ts'
import { run } from './run.ts'

const requirements = join(repoRoot, 'scripts', 'tools', 'aws-cli', 'requirements.txt')

/** A directory for each list of pinned packages. */
const installDir = (): string => {
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 16)
  return join(cacheDir(), 'tools', 'aws-cli', digest)
}

/** Path of the command; `provideAwsCli` puts it there. */
export const awsCli = (): string => join(installDir(), 'aws')

/** @throws CommandError with pip's own words. */
export const provideAwsCli = async (report: (line: string) => void): Promise<void> => {
  const dir = installDir()
  if (existsSync(awsCli())) return
  if (!existsSync('/usr/bin/pip3')) await installPackages(['python3-pip'])
  report('aws-cli: installing from PyPI')
  const partial = `${dir}.${process.pid}`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  try {
    const target = join(partial, 'packages')
    const options = ['--quiet', '--no-deps', '--only-binary', ':all:', '--require-hashes', '--target', target]
    await run('/usr/bin/python3', ['-m', 'pip', 'install', ...options, '-r', requirements])
    const launcher = `#!/bin/sh\nPYTHONPATH='${dir}/packages' exec /usr/bin/python3 -m awscli "$@"\n`
    writeFileSync(join(partial, 'aws'), launcher, { mode: 0o755 })
    renameSync(partial, dir)
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}
