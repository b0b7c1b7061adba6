/** A runtime whose runner does not make its clones unique: what a test of uniqueness must find fault with. Exists in tests alone. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withBuilderHost } from '../../images/checkpoint/builder-host.ts'
import { saveCheckpoint } from '../../images/checkpoint/save.ts'
import { makeErofs } from '../../images/erofs.ts'
import type { Premises } from '../../scripts/place.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { RuntimeFiles } from '../../services/node-agent/config.ts'
import { writeManifest } from '../../services/node-agent/checkpoint/manifest.ts'
import { fileDigest } from '../../services/node-agent/file-digests.ts'
import { configOf } from './host.ts'

/** Where the runner becomes unique, and what it does there instead: nothing. */
const patches: Readonly<Partial<Record<RuntimeName, readonly [file: string, from: string, to: string]>>> = {
  'nodejs24.x': [
    'var/runtime/index.mjs',
    'var makeUnique = (entropy) => {',
    'var makeUnique = (entropy) => {\n  return;',
  ],
  'python3.11': [
    'var/runtime/forkyard_runtime/unique.py',
    'def make_unique(entropy: bytes) -> None:',
    'def make_unique(entropy: bytes) -> None:\n    return',
  ],
}

const patch = (root: string, runtime: RuntimeName): void => {
  const [name, from, to] = patches[runtime] ?? ['', '', '']
  const file = join(root, name)
  const text = readFileSync(file, 'utf8')
  if (text.split(from).length !== 2) throw new Error(`${name} has changed: nothing to take out`)
  writeFileSync(file, text.replace(from, to))
  // Bytecode that is never compared with its source.
  const compiled = join(file, '../__pycache__')
  if (name.endsWith('.py'))
    for (const entry of readdirSync(compiled)) if (entry.startsWith('unique.')) rmSync(join(compiled, entry))
}

/** Image and checkpoint below `dir`, made like the node's own but for the patch, and not passed by the gate. */
export const makeRuntimeWithoutReseeding = async (
  target: Premises,
  runtime: RuntimeName,
  dir: string,
): Promise<Partial<RuntimeFiles>> => {
  const { runtimes, runscPath } = configOf(target, 'node-agent')
  const original = runtimes[runtime]
  if (!original) throw new Error(`the node has no ${runtime}`)
  const [root, imagePath, scratch] = ['root', 'image.erofs', 'save'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ]
  mkdirSync(scratch, { recursive: true })
  execFileSync('fsck.erofs', [`--extract=${root}`, original.imagePath], { stdio: ['ignore', 'ignore', 'inherit'] })
  patch(root, runtime)
  await makeErofs(root, imagePath)
  const imageDigest = await fileDigest(imagePath)
  const { directory } = await withBuilderHost({ runscPath }, (host) =>
    saveCheckpoint(host, { ...original, imagePath, imageDigest }, scratch),
  )
  const checkpointKey = 'without-reseeding'
  const checkpointDigest = await writeManifest(directory, { key: checkpointKey })
  return { imagePath, imageDigest, checkpointPath: directory, checkpointKey, checkpointDigest }
}
