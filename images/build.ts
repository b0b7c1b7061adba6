/**
 * `node images/build.ts --runtime R --out DIR` prints `{"imagePath","imageDigest"}`: the runtime's root file system as an EROFS image
 * `DIR/<sha256>.erofs`, built only when its inputs changed. An image is never changed or removed here: sandboxes may use it.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { runtimeNames, type RuntimeName } from '../services/contracts/function.ts'
import { fileDigest } from '../services/node-agent/file-digests.ts'
import { makeErofs } from './erofs.ts'
import { runtimeInputsDigest } from './inputs.ts'
import { makeRootFileSystem } from './root-file-system.ts'
import { runtimes } from './runtimes.ts'
import { withScratch } from './scratch.ts'

export interface RuntimeImageFile {
  readonly imagePath: string
  /** Lower-case hex SHA-256 of the file. */
  readonly imageDigest: string
}

interface BuildRecord {
  readonly inputsDigest: string
  readonly imageDigest: string
}

const imageFile = (out: string, digest: string): string => join(out, `${digest}.erofs`)
const recordFile = (out: string, runtime: RuntimeName): string => join(out, `${runtime}.json`)

/** The image of an earlier run, if its inputs are today's and its bytes are what they were. */
const existing = async (
  out: string,
  runtime: RuntimeName,
  inputsDigest: string,
): Promise<RuntimeImageFile | undefined> => {
  const file = recordFile(out, runtime)
  if (!existsSync(file)) return undefined
  const record = JSON.parse(readFileSync(file, 'utf8')) as BuildRecord
  const imagePath = imageFile(out, record.imageDigest)
  if (record.inputsDigest !== inputsDigest || !existsSync(imagePath)) return undefined
  return (await fileDigest(imagePath)) === record.imageDigest
    ? { imagePath, imageDigest: record.imageDigest }
    : undefined
}

export const buildImage = async (
  runtime: RuntimeName,
  outDir: string,
  report: (line: string) => void,
): Promise<RuntimeImageFile> => {
  const out = resolve(outDir)
  const inputsDigest = runtimeInputsDigest(runtime)
  const found = await existing(out, runtime, inputsDigest)
  if (found) return found
  process.umask(0o022)
  mkdirSync(out, { recursive: true })
  return withScratch(out, `.build-${runtime}-`, async (scratch) => {
    const root = join(scratch, 'root')
    const { packages, install } = runtimes[runtime]
    await makeRootFileSystem(root, packages, report)
    report(`installing ${runtime}`)
    await install(root)
    chmodSync(root, 0o755)
    const partial = join(scratch, 'image.erofs')
    report('making the EROFS image')
    await makeErofs(root, partial)
    const imageDigest = await fileDigest(partial)
    const imagePath = imageFile(out, imageDigest)
    chmodSync(partial, 0o644)
    renameSync(partial, imagePath)
    const record: BuildRecord = { inputsDigest, imageDigest }
    writeFileSync(join(scratch, 'record.json'), `${JSON.stringify(record)}\n`)
    renameSync(join(scratch, 'record.json'), recordFile(out, runtime))
    return { imagePath, imageDigest }
  })
}

/** @throws Error that lists the valid names. */
export const runtimeArgument = (name: string | undefined): RuntimeName => {
  const runtime = runtimeNames.find((candidate) => candidate === name)
  if (!runtime) throw new Error(`--runtime must be one of ${runtimeNames.join(', ')}`)
  return runtime
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runtime: { type: 'string' }, out: { type: 'string' } } })
  if (!values.out) throw new Error('the option --out DIR is required')
  const runtime = runtimeArgument(values.runtime)
  const image = await buildImage(runtime, values.out, (line) => process.stderr.write(`${runtime}: ${line}\n`))
  process.stdout.write(`${JSON.stringify(image)}\n`)
}
