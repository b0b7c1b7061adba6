/**
 * `node images/checkpoint.ts --runtime R --out DIR`, on stdin `{"image","runsc"[,"prebuilt"]}`, prints `{"checkpointPath","key","digest"}`: the
 * runtime, booted once in real gVisor and saved after its own initialisation; never published before clones of it were compared
 * (services/node-agent/checkpoint/gate.ts). Whoever uses it takes the manifest with this digest alone, so nothing that is found
 * on the disk is handed on, unless an index vouches for it.
 */
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { json } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import type { RuntimeName } from '../services/contracts/function.ts'
import { checkClones } from '../services/node-agent/checkpoint/gate.ts'
import type { CheckpointIndex } from '../services/node-agent/checkpoint/checkpoint-index.ts'
import { damagedFile, writeManifest } from '../services/node-agent/checkpoint/manifest.ts'
import { runtimeCommands } from '../services/node-agent/runtime-files.ts'
import { runtimeArgument } from './build.ts'
import { withBuilderHost } from './checkpoint/builder-host.ts'
import { checkpointKey } from './checkpoint/key.ts'
import { saveCheckpoint } from './checkpoint/save.ts'
import { fileDigest } from '../services/node-agent/file-digests.ts'
import { checkpointInputsDigest } from './inputs.ts'
import { withScratch } from './scratch.ts'

export interface CheckpointFiles {
  /** Directory with gVisor's files and `manifest.json`. */
  readonly checkpointPath: string
  readonly key: string
  /** SHA-256 of the manifest. */
  readonly digest: string
}

const Input = Type.Object({
  image: Type.String(),
  runsc: Type.String(),
  /** Where neither compiler nor sources are: the agent's addon, and the digest of the builder itself. */
  prebuilt: Type.Optional(Type.Object({ addon: Type.String(), inputsDigest: Type.String() })),
})
type Input = Static<typeof Input>

/** @param index knows what was made here before, and learns of this one. Absent: it is made in any case. */
export const makeCheckpoint = async (
  runtime: RuntimeName,
  outDir: string,
  { image, runsc, prebuilt }: Input,
  report: (line: string) => void,
  index?: CheckpointIndex,
): Promise<CheckpointFiles> => {
  const out = resolve(outDir)
  const inputsDigest = prebuilt?.inputsDigest ?? checkpointInputsDigest()
  const key = await checkpointKey(runtime, { image, runsc, inputsDigest })
  const checkpointPath = join(out, `${runtime}-${key}`)
  const known = index?.digest(basename(checkpointPath))
  if (known !== undefined && (await damagedFile(checkpointPath, { key, digest: known })) === undefined)
    return { checkpointPath, key, digest: known }
  process.umask(0o022)
  mkdirSync(out, { recursive: true })
  return withScratch(out, `.save-${runtime}-`, (scratch) =>
    withBuilderHost({ runscPath: runsc, addonPath: prebuilt?.addon }, async (host) => {
      const imageDigest = await fileDigest(image)
      const files = { imagePath: resolve(image), imageDigest, command: [...runtimeCommands[runtime]] }
      report('booting and saving')
      const candidate = await saveCheckpoint(host, files, scratch)
      const { directory } = candidate
      report('restoring twice')
      await checkClones({ host }, candidate)
      const digest = await writeManifest(directory, { key })
      for (const name of readdirSync(directory)) chmodSync(join(directory, name), 0o644)
      // Whatever was there under this key: nobody vouches for it.
      rmSync(checkpointPath, { recursive: true, force: true })
      renameSync(directory, checkpointPath)
      index?.set(basename(checkpointPath), digest)
      return { checkpointPath, key, digest }
    }),
  )
}

export const checkpointCommand = async (args: string[]): Promise<void> => {
  const { values } = parseArgs({ args, options: { runtime: { type: 'string' }, out: { type: 'string' } } })
  if (!values.out) throw new Error('the option --out DIR is required')
  const runtime = runtimeArgument(values.runtime)
  const input = Value.Parse(Input, await json(process.stdin))
  const made = await makeCheckpoint(runtime, values.out, input, (line) => process.stderr.write(`${runtime}: ${line}\n`))
  process.stdout.write(`${JSON.stringify(made)}\n`)
}

if (import.meta.main) await checkpointCommand(process.argv.slice(2))
