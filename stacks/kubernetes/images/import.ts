/**
 * `import.ts put`: hands an image to a command on stdin, as an OCI archive that carries the image's name. Input: `ImportInput`. For clusters
 * without a registry: the command brings it into the containerd of one node, or of all.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { withScratch } from '../../../images/scratch.ts'
import { readInput } from '../../host-scripts/input.ts'

export const ImportInput = Type.Object({
  layout: Type.String({ pattern: '^/' }),
  /** As pods name it, with a tag. */
  image: Type.String({ pattern: '^[^ ]+:[^ :/]+$' }),
  command: Type.Array(Type.String(), { minItems: 1 }),
})
export type ImportInput = Static<typeof ImportInput>

interface Index {
  readonly manifests: readonly { readonly annotations?: Readonly<Record<string, string>> }[]
}

/** Pure. The names by which containerd and others know what to call it. */
export const namedIndex = (index: Index, image: string): Index => ({
  ...index,
  manifests: index.manifests.map((manifest) => ({
    ...manifest,
    annotations: {
      'io.containerd.image.name': image,
      'org.opencontainers.image.ref.name': image.slice(image.lastIndexOf(':') + 1),
    },
  })),
})

/** @throws Error with the end of what the command said */
export const importImage = async ({ layout, image, command }: ImportInput): Promise<void> => {
  if (!existsSync(join(layout, 'index.json')))
    throw new Error(`${layout} is gone from the cache: pulumi up --target-replace the image that it belongs to`)
  await withScratch(tmpdir(), 'forkyard-import-', async (scratch) => {
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as Index
    writeFileSync(join(scratch, 'index.json'), JSON.stringify(namedIndex(index, image)))
    const sources = ['-C', scratch, 'index.json', '-C', layout, 'oci-layout', 'blobs']
    const tar = spawn('tar', ['-cf', '-', ...sources], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [program = '', ...args] = command
    const importer = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [importer.stdout, importer.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)))
    // One that ends early is reported by its status.
    importer.stdin.on('error', () => undefined)
    tar.stdout.pipe(importer.stdin)
    const [status] = (await once(importer, 'close')) as [number | null]
    tar.kill()
    if (status !== 0) throw new Error(`${command.join(' ')} ended with ${String(status)}:\n${said}`)
  })
}

if (import.meta.main) await importImage(readInput(ImportInput))
