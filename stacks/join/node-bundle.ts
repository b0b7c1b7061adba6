/** What a machine needs to be a node, in one directory: `scripts/node-bundle.ts` makes it, the machine that joins checks and uses it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { fileDigest } from '../../services/node-agent/file-digests.ts'

/** Paths in the directory. */
export const bundlePaths = {
  manifest: 'manifest.json',
  command: 'forkyard-node',
  node: 'bin/node',
  runsc: 'bin/runsc',
  addon: 'lib/host-calls.node',
  agent: 'lib/node-agent.mjs',
  installer: 'lib/join.mjs',
  image: (runtime: string): string => `images/${runtime}.erofs`,
} as const

const digest = Type.String({ pattern: '^[0-9a-f]{64}$' })

export const BundleManifest = Type.Object(
  {
    version: Type.String(),
    runtimes: Type.Array(Type.String()),
    /** Of the builder of checkpoints. */
    checkpointInputs: digest,
    /** SHA-256 by path. */
    files: Type.Record(Type.String(), digest),
  },
  { additionalProperties: false },
)
export type BundleManifest = Static<typeof BundleManifest>

/** @throws Error that names the file which is not what was packed */
export const openBundle = async (dir: string): Promise<BundleManifest> => {
  const manifest = Value.Parse(BundleManifest, JSON.parse(readFileSync(join(dir, bundlePaths.manifest), 'utf8')))
  for (const [path, wanted] of Object.entries(manifest.files)) {
    const found = await fileDigest(join(dir, path)).catch((error: unknown) => (error as Error).message)
    if (found !== wanted) throw new Error(`${path} is not what was packed: ${found}`)
  }
  return manifest
}
