/** `npm run node-bundle -- --out FILE.tar.gz`: what a machine needs to join as a node (`stacks/join`), made here from what the stack is made of. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import packageJson from '../package.json' with { type: 'json' }
import { buildImage } from '../images/build.ts'
import { checkpointInputsDigest } from '../images/inputs.ts'
import { runtimeNames } from '../services/contracts/function.ts'
import { fileDigest } from '../services/node-agent/file-digests.ts'
import { buildAddon } from '../services/node-agent/native/build.ts'
import { bundleService } from '../stacks/bundle.ts'
import { paths } from '../stacks/join/machine.ts'
import { bundlePaths, type BundleManifest } from '../stacks/join/node-bundle.ts'
import { cacheDir, repoRoot, toolPath } from './setup/paths.ts'
import { prepareMachine } from './setup/prepare.ts'
import { run } from './setup/run.ts'

/** `run` is for the agent's unit: an agent whose port cannot be shut to others does not begin. */
const command = `#!/bin/sh
set -e
here=$(dirname "$(readlink -f "$0")")
if [ "$1" = run ]; then
  "$here/bin/node" "$here/${bundlePaths.installer}" shut-port
  exec "$here/bin/node" "$here/${bundlePaths.agent}" --config "${paths.config}"
fi
exec "$here/bin/node" "$here/${bundlePaths.installer}" "$@"
`

/** @param dir empty, and filled with what lies in the archive */
const layOut = async (dir: string): Promise<void> => {
  const files: Record<string, string> = {}
  const place = async (path: string, mode: number, put: (file: string) => void): Promise<void> => {
    const file = join(dir, path)
    mkdirSync(dirname(file), { recursive: true })
    put(file)
    chmodSync(file, mode)
    files[path] = await fileDigest(file)
  }
  const copy = (path: string, source: string, mode: number) => place(path, mode, (file) => copyFileSync(source, file))
  const bundle = async (path: string, entryPoint: string): Promise<void> => {
    const { code } = await bundleService(entryPoint, repoRoot)
    await place(path, 0o644, (file) => writeFileSync(file, code))
  }
  await copy(bundlePaths.node, process.execPath, 0o755)
  await copy(bundlePaths.runsc, toolPath('runsc'), 0o755)
  await copy(bundlePaths.addon, buildAddon(join(cacheDir(), 'native')), 0o644)
  await bundle(bundlePaths.agent, 'services/node-agent/main.ts')
  await bundle(bundlePaths.installer, 'stacks/join/main.ts')
  await place(bundlePaths.command, 0o755, (file) => writeFileSync(file, command))
  for (const runtime of runtimeNames) {
    const { imagePath } = await buildImage(runtime, join(cacheDir(), 'images'), (line) =>
      console.error(`${runtime}: ${line}`),
    )
    await copy(bundlePaths.image(runtime), imagePath, 0o644)
  }
  const manifest: BundleManifest = {
    version: packageJson.version,
    runtimes: [...runtimeNames],
    checkpointInputs: checkpointInputsDigest(),
    files,
  }
  writeFileSync(join(dir, bundlePaths.manifest), `${JSON.stringify(manifest, undefined, 2)}\n`)
}

const { values } = parseArgs({ options: { out: { type: 'string' } } })
if (values.out === undefined) throw new Error('usage: npm run node-bundle -- --out FILE.tar.gz')
const out = resolve(values.out)
await prepareMachine()
mkdirSync(dirname(out), { recursive: true })
const scratch = mkdtempSync(join(dirname(out), '.node-bundle-'))
try {
  const root = join(scratch, 'forkyard-node')
  mkdirSync(root)
  await layOut(root)
  const archive = join(scratch, 'bundle.tar.gz')
  // The same files give the same bytes.
  const order = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner']
  await run('tar', [...order, '--use-compress-program=gzip -n -1', '-cf', archive, '-C', scratch, 'forkyard-node'])
  renameSync(archive, out)
  console.log(out)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
