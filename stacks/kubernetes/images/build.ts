/**
 * `build.ts put`, on stdin `ImageInput`, prints `{"layoutPath","digest"}`: an OCI image as a directory in the OCI image layout, from bundles and
 * files of this machine; no daemon. The same inputs give the same digest.
 */
import { chmodSync, copyFileSync, existsSync, linkSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Type, type Static } from 'typebox'
import { withScratch } from '../../../images/scratch.ts'
import { fileDigest } from '../../../services/node-agent/file-digests.ts'
import { bundleService } from '../../bundle.ts'
import { readInput } from '../../host-scripts/input.ts'
import { imageUser, provideBaseLayer } from './base-layer.ts'
import { blobPath, packLayer, storeJson, type Blob } from './layer.ts'
import { debianComponent, npmComponent, spdxDocument, type Component } from './sbom.ts'

const InImage = { path: Type.String({ pattern: '^/' }) }

export const ImageInput = Type.Object({
  name: Type.String({ pattern: '^[a-z-]+$' }),
  /** Directory of blobs and layouts. */
  out: Type.String({ pattern: '^/' }),
  root: Type.String({ pattern: '^/' }),
  /** Below `root`; each one file in the image. The digest is the program's: sources that changed since are an error. */
  bundles: Type.Array(Type.Object({ ...InImage, entryPoint: Type.String(), digest: Type.String() })),
  /** Of this machine. */
  files: Type.Array(Type.Object({ ...InImage, source: Type.String(), name: Type.String(), version: Type.String() })),
  /** With Node.js and what it stands on. */
  base: Type.Boolean(),
  entrypoint: Type.Array(Type.String(), { minItems: 1 }),
})
export type ImageInput = Static<typeof ImageInput>

export interface BuiltImage {
  readonly layoutPath: string
  /** Of the manifest: `sha256:<hex>`. */
  readonly digest: string
}

export const buildOciImage = async (input: ImageInput): Promise<BuiltImage> => {
  const store = join(input.out, 'blobs')
  mkdirSync(store, { recursive: true })
  return withScratch(input.out, `.image-${input.name}-`, async (scratch) => {
    const root = join(scratch, 'root')
    mkdirSync(root, { mode: 0o755 })
    const components = await layOut(root, input)
    const base = input.base ? await provideBaseLayer(store) : undefined
    if (base) {
      const { node } = base
      components.push(...base.packages.map(debianComponent), {
        name: 'node',
        ...node,
        purl: `pkg:generic/node@${node.version}`,
      })
    }
    const sbom = join(root, 'usr/share/sbom', `${input.name}.spdx.json`)
    mkdirSync(dirname(sbom), { recursive: true })
    writeFileSync(sbom, spdxDocument(input.name, components))
    const layers = [...(base ? [base.layer] : []), await packLayer(root, store)]
    return writeLayout(input, store, layers, join(scratch, 'layout'))
  })
}

/** @returns what the SBOM names */
const layOut = async (root: string, { bundles, files, root: sources }: ImageInput): Promise<Component[]> => {
  const components: Component[] = []
  const place = (path: string): string => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    return join(root, path)
  }
  for (const { path, entryPoint, digest } of bundles) {
    const bundle = await bundleService(entryPoint, sources)
    if (bundle.digest !== digest)
      throw new Error(`the sources of ${entryPoint} were changed while the stack was being brought up: run it again`)
    writeFileSync(place(path), bundle.code, { mode: 0o644 })
    components.push({ name: entryPoint, version: digest, sha256: bundle.sha256 }, ...bundle.packages.map(npmComponent))
  }
  for (const { path, source, name, version } of files) {
    copyFileSync(source, place(path))
    chmodSync(place(path), 0o755)
    components.push({ name, version, sha256: await fileDigest(source) })
  }
  return [...new Map(components.map((found) => [`${found.name}@${found.version}`, found])).values()]
}

const manifestType = 'application/vnd.oci.image.manifest.v1+json'

const writeLayout = (
  { name, out, entrypoint }: ImageInput,
  store: string,
  layers: readonly Blob[],
  scratch: string,
): BuiltImage => {
  const config = storeJson(
    'application/vnd.oci.image.config.v1+json',
    {
      architecture: 'amd64',
      os: 'linux',
      config: {
        Entrypoint: entrypoint,
        User: String(imageUser),
        WorkingDir: '/',
        Env: ['PATH=/usr/bin:/bin:/sbin:/usr/sbin'],
      },
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    },
    store,
  )
  const manifest = storeJson(manifestType, { schemaVersion: 2, mediaType: manifestType, config, layers }, store)
  const layout = join(out, `${name}-${manifest.digest.slice('sha256:'.length)}`)
  if (existsSync(layout)) return { layoutPath: layout, digest: manifest.digest }
  const blobs = join(scratch, 'blobs', 'sha256')
  mkdirSync(blobs, { recursive: true })
  for (const { digest } of [manifest, config, ...layers])
    linkSync(blobPath(store, digest), join(blobs, digest.slice('sha256:'.length)))
  writeFileSync(join(scratch, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(scratch, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }))
  try {
    renameSync(scratch, layout)
  } catch (error) {
    // Another stack's build of the same was faster.
    if (!existsSync(layout)) throw error
  }
  return { layoutPath: layout, digest: manifest.digest }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await buildOciImage(readInput(ImageInput)))}\n`)
