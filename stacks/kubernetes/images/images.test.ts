import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../../scripts/setup/run.ts'
import { bundleService } from '../../bundle.ts'
import { buildOciImage, type BuiltImage, type ImageInput } from './build.ts'
import { importImage } from './import.ts'
import { pushImage } from './push.ts'
import { npmComponent, spdxDocument } from './sbom.ts'

const base = mkdtempSync(join(tmpdir(), 'forkyard-images-'))
const root = join(base, 'repo')
const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')

/** One program and one bundle, without what the services' images stand on. */
const input = async (out: string): Promise<ImageInput> => {
  const { digest } = await bundleService('main.ts', root)
  return {
    name: 'tool',
    out: join(base, out),
    root,
    bundles: [{ path: '/opt/main.mjs', entryPoint: 'main.ts', digest }],
    files: [{ path: '/tool', source: join(base, 'program'), name: 'tool', version: '1.2' }],
    base: false,
    entrypoint: ['/tool'],
  }
}

beforeAll(() => {
  mkdirSync(root)
  writeFileSync(join(root, 'main.ts'), 'console.log(1)')
  writeFileSync(join(base, 'program'), 'program')
})
afterAll(() => rmSync(base, { recursive: true }))

const blob = ({ layoutPath }: BuiltImage, digest: string): Buffer =>
  readFileSync(join(layoutPath, 'blobs', digest.replace(':', '/')))

interface Manifest {
  readonly config: { readonly digest: string }
  readonly layers: readonly { readonly digest: string; readonly size: number }[]
}

describe('an image', () => {
  it('is the same whenever and wherever it is built', async () => {
    const [first, second] = [await buildOciImage(await input('a')), await buildOciImage(await input('b'))]
    expect(second.digest).toBe(first.digest)
    expect((await buildOciImage(await input('a'))).layoutPath).toBe(first.layoutPath)
  })

  it('holds its files, says what it is made of, and runs as nobody', async () => {
    const image = await buildOciImage(await input('a'))
    const { config, layers } = JSON.parse(blob(image, image.digest).toString()) as Manifest
    expect(JSON.parse(blob(image, config.digest).toString())).toMatchObject({
      config: { Entrypoint: ['/tool'], User: '65532' },
      rootfs: { diff_ids: layers.map(({ digest }) => digest) },
    })
    const layer = join(image.layoutPath, 'blobs', layers[0]?.digest.replace(':', '/') ?? '')
    expect(await run('tar', ['-xOf', layer, './tool'])).toBe('program')
    const { packages } = JSON.parse(await run('tar', ['-xOf', layer, './usr/share/sbom/tool.spdx.json'])) as {
      packages: { name: string; versionInfo: string; checksums: object[] }[]
    }
    expect(packages.find(({ name }) => name === 'tool')).toMatchObject({
      versionInfo: '1.2',
      checksums: [{ algorithm: 'SHA256', checksumValue: sha256('program') }],
    })
    expect(packages.map(({ name }) => name)).toEqual(['main.ts', 'tool'])
  })

  it('is not built from other sources than the program saw', async () => {
    const stale = await input('a')
    const bundles = stale.bundles.map((found) => ({ ...found, digest: '0'.repeat(16) }))
    await expect(buildOciImage({ ...stale, bundles })).rejects.toThrow('main.ts were changed')
  })
})

describe('an import', () => {
  const archive = join(base, 'archive.tar')
  afterEach(() => rmSync(archive, { force: true }))

  it('hands over an archive that holds the image under its name', async () => {
    const { layoutPath: layout } = await buildOciImage(await input('a'))
    await importImage({ layout, image: 'forkyard.invalid/tool:1', command: ['tee', archive] })
    const index = JSON.parse(await run('tar', ['-xOf', archive, 'index.json'])) as object
    expect(index).toMatchObject({
      manifests: [{ annotations: { 'io.containerd.image.name': 'forkyard.invalid/tool:1' } }],
    })
    expect(await run('tar', ['-tf', archive])).toContain('oci-layout')
  })

  it('that fails says what the command said', async () => {
    const { layoutPath: layout } = await buildOciImage(await input('a'))
    const command = ['sh', '-c', 'echo no such node >&2; exit 3']
    await expect(importImage({ layout, image: 'a:1', command })).rejects.toThrow(/ended with 3:\nno such node/)
  })
})

describe('a push', () => {
  const stored = new Map<string, Buffer>()
  const calls: string[] = []
  let token = ''
  const reply = async (request: IncomingMessage): Promise<[number, Record<string, string>]> => {
    const url = new URL(request.url ?? '', 'http://registry')
    calls.push(`${request.method} ${url.pathname}`)
    if (token && request.headers.authorization !== `Basic ${Buffer.from(token).toString('base64')}`)
      return [401, { 'www-authenticate': 'Basic realm="registry"' }]
    const body = await buffer(request)
    const name = url.searchParams.get('digest') ?? url.pathname.split('/').at(-1) ?? ''
    if (request.method === 'HEAD') return [stored.has(name) ? 200 : 404, {}]
    if (request.method === 'POST') return [202, { location: '/v2/forkyard/tool/blobs/uploads/1?state=x' }]
    if (name !== `sha256:${sha256(body)}`) return [400, {}]
    stored.set(name, body)
    return [201, {}]
  }
  const server = createServer((request, answer) => {
    void reply(request).then(([status, headers]) => answer.writeHead(status, headers).end())
  })
  let repository = ''
  beforeAll(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    repository = `127.0.0.1:${(server.address() as AddressInfo).port}/forkyard/tool`
  })
  afterAll(() => server.close())
  afterEach(() => {
    stored.clear()
    calls.length = 0
    token = ''
  })

  it('sends every part, the manifest last, and nothing twice', async () => {
    const image = await buildOciImage(await input('a'))
    const parts = { layout: image.layoutPath, repository, digest: image.digest }
    await pushImage(parts, {})
    const { config, layers } = JSON.parse(blob(image, image.digest).toString()) as Manifest
    expect([...stored.keys()]).toEqual([...layers.map(({ digest }) => digest), config.digest, image.digest])
    calls.length = 0
    await pushImage(parts, {})
    expect(calls).toEqual([`HEAD /v2/forkyard/tool/manifests/${image.digest}`])
  })

  it('proves who it is, and says so when that is not enough', async () => {
    token = 'builder:secret'
    const image = await buildOciImage(await input('a'))
    const parts = { layout: image.layoutPath, repository, digest: image.digest }
    await expect(pushImage(parts, {})).rejects.toThrow('answers 401')
    await pushImage(parts, { FORKYARD_REGISTRY_USER: 'builder', FORKYARD_REGISTRY_PASSWORD: 'secret' })
    expect(stored.has(image.digest)).toBe(true)
  })
})

it('npm packages of scopes are named as package URLs want it', () => {
  expect(npmComponent('@nats-io/kv@3.4.0')).toEqual({
    name: '@nats-io/kv',
    version: '3.4.0',
    purl: 'pkg:npm/%40nats-io/kv@3.4.0',
  })
  expect(spdxDocument('x', [npmComponent('b@1'), npmComponent('a@1')])).toBe(
    spdxDocument('x', [npmComponent('a@1'), npmComponent('b@1')]),
  )
})
