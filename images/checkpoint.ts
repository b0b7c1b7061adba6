/**
 * `node images/checkpoint.ts --runtime R --out DIR`, on stdin `{"image","runsc"}`, prints `{"checkpointPath","key"}`: the runtime, booted
 * once in real gVisor and saved after its own initialisation. Reused while its key and its files' digests hold; never published
 * before clones of it were compared (checkpoint/gate.ts).
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { json } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import type { RuntimeName } from '../services/contracts/function.ts'
import { CheckpointManifest, runtimeCommands } from '../services/node-agent/runtime-files.ts'
import { runtimeArgument } from './build.ts'
import { withBuilderHost } from './checkpoint/builder-host.ts'
import { checkClones } from './checkpoint/gate.ts'
import { checkpointKey } from './checkpoint/key.ts'
import { saveCheckpoint } from './checkpoint/save.ts'
import { sha256OfFile } from './erofs.ts'
import { withScratch } from './scratch.ts'

export interface CheckpointFiles {
  /** Directory with gVisor's files and `manifest.json`. */
  readonly checkpointPath: string
  readonly key: string
}

const Input = Type.Object({ image: Type.String(), runsc: Type.String() })

const digestsOf = async (directory: string): Promise<Record<string, string>> => {
  const names = readdirSync(directory).filter((name) => name !== 'manifest.json')
  const entries = names.sort().map(async (name) => [name, await sha256OfFile(join(directory, name))] as const)
  return Object.fromEntries(await Promise.all(entries))
}

const isWhole = async (directory: string, key: string): Promise<boolean> => {
  const file = join(directory, 'manifest.json')
  if (!existsSync(file)) return false
  const manifest = Value.Parse(CheckpointManifest, JSON.parse(readFileSync(file, 'utf8')))
  return manifest.key === key && JSON.stringify(await digestsOf(directory)) === JSON.stringify(manifest.files)
}

export const makeCheckpoint = async (
  runtime: RuntimeName,
  outDir: string,
  { image, runsc }: { readonly image: string; readonly runsc: string },
  report: (line: string) => void,
): Promise<CheckpointFiles> => {
  const out = resolve(outDir)
  const key = await checkpointKey(runtime, image, runsc)
  const checkpointPath = join(out, `${runtime}-${key}`)
  if (await isWhole(checkpointPath, key)) return { checkpointPath, key }
  process.umask(0o022)
  mkdirSync(out, { recursive: true })
  return withScratch(out, `.save-${runtime}-`, (scratch) =>
    withBuilderHost(runsc, async (host) => {
      const directory = join(scratch, 'checkpoint')
      mkdirSync(directory)
      const imageDigest = await sha256OfFile(image)
      const files = { imagePath: resolve(image), imageDigest, command: [...runtimeCommands[runtime]] }
      report('booting and saving')
      await saveCheckpoint(host, files, directory)
      report('restoring twice')
      await checkClones(host, files, directory)
      writeFileSync(join(directory, 'manifest.json'), `${JSON.stringify({ key, files: await digestsOf(directory) })}\n`)
      for (const name of readdirSync(directory)) chmodSync(join(directory, name), 0o644)
      // What was there under this key is damaged, or somebody was faster with the same.
      rmSync(checkpointPath, { recursive: true, force: true })
      renameSync(directory, checkpointPath)
      return { checkpointPath, key }
    }),
  )
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runtime: { type: 'string' }, out: { type: 'string' } } })
  if (!values.out) throw new Error('the option --out DIR is required')
  const runtime = runtimeArgument(values.runtime)
  const input = Value.Parse(Input, await json(process.stdin))
  const made = await makeCheckpoint(runtime, values.out, input, (line) => process.stderr.write(`${runtime}: ${line}\n`))
  process.stdout.write(`${JSON.stringify(made)}\n`)
}
