/**
 * `push.ts put`: pushes an image to a registry by the OCI distribution protocol; blobs that it has are not sent again. Input: `PushInput`.
 * Credentials, if the registry wants some: $FORKYARD_REGISTRY_USER and $FORKYARD_REGISTRY_PASSWORD, of which the stack's state knows nothing.
 */
import { openAsBlob, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { readInput } from '../../host-scripts/input.ts'

export const PushInput = Type.Object({
  layout: Type.String({ pattern: '^/' }),
  /** `host[:port]/path`. */
  repository: Type.String({ pattern: '^[^/]+/.' }),
  /** Of the manifest. */
  digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
})
export type PushInput = Static<typeof PushInput>

interface Manifest {
  readonly mediaType: string
  readonly config: { readonly digest: string }
  readonly layers: readonly { readonly digest: string }[]
}

const callTimeoutMs = 10 * 60_000

/** One repository of a registry. */
class Repository {
  readonly #base: string
  readonly #basic: string | undefined
  #authorization: string | undefined

  constructor(repository: string, env: NodeJS.ProcessEnv) {
    const [host = '', ...path] = repository.split('/')
    // As everybody does: a registry on this machine has no certificate.
    const scheme = /^(localhost|127\.0\.0\.1)(:|$)/.test(host) ? 'http' : 'https'
    this.#base = `${scheme}://${host}/v2/${path.join('/')}`
    const { FORKYARD_REGISTRY_USER: user, FORKYARD_REGISTRY_PASSWORD: password } = env
    this.#basic = user ? `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}` : undefined
  }

  async has(path: string): Promise<boolean> {
    const reply = await this.#call('HEAD', path)
    if (reply.status === 404) return false
    return this.#expect(reply, 200)
  }

  async putBlob(digest: string, file: string): Promise<void> {
    if (await this.has(`/blobs/${digest}`)) return
    const opened = await this.#call('POST', '/blobs/uploads/')
    await this.#expect(opened, 202)
    const upload = new URL(opened.headers.get('location') ?? '', opened.url)
    upload.searchParams.set('digest', digest)
    const headers = { 'content-type': 'application/octet-stream' }
    await this.#expect(await this.#call('PUT', upload, await openAsBlob(file), headers), 201)
  }

  async putManifest(digest: string, text: string, mediaType: string): Promise<void> {
    await this.#expect(await this.#call('PUT', `/manifests/${digest}`, text, { 'content-type': mediaType }), 201)
  }

  async #call(
    method: string,
    path: string | URL,
    body?: string | Blob,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const url = path instanceof URL ? path : new URL(`${this.#base}${path}`)
    const send = () =>
      fetch(url, {
        method,
        headers: { ...headers, ...(this.#authorization ? { authorization: this.#authorization } : {}) },
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.timeout(callTimeoutMs),
      })
    const reply = await send()
    if (reply.status !== 401) return reply
    await reply.body?.cancel()
    this.#authorization = await this.#answer(reply.headers.get('www-authenticate') ?? '')
    return send()
  }

  /** What a registry asks for: the password itself, or a token that is had for it. */
  async #answer(challenge: string): Promise<string | undefined> {
    if (!/^bearer /i.test(challenge)) return this.#basic
    const fields = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]))
    const url = new URL(fields['realm'] ?? '')
    for (const key of ['service', 'scope']) if (fields[key]) url.searchParams.set(key, fields[key])
    const headers: Record<string, string> = this.#basic ? { authorization: this.#basic } : {}
    const reply = await fetch(url, { headers, signal: AbortSignal.timeout(30_000) })
    await this.#expect(reply, 200)
    const { token, access_token: accessToken } = (await reply.json()) as { token?: string; access_token?: string }
    return `Bearer ${token ?? accessToken}`
  }

  async #expect(reply: Response, status: number): Promise<true> {
    if (reply.status === status) return true
    const said = (await reply.text()).slice(0, 500)
    throw new Error(`${new URL(reply.url).host} answers ${reply.status} where ${status} was expected: ${said}`)
  }
}

/** @throws Error with what the registry said */
export const pushImage = async ({ layout, repository, digest }: PushInput, env = process.env): Promise<void> => {
  const blob = (of: string) => join(layout, 'blobs', of.replace(':', '/'))
  const text = readFileSync(blob(digest), 'utf8')
  const { mediaType, config, layers } = JSON.parse(text) as Manifest
  const target = new Repository(repository, env)
  if (await target.has(`/manifests/${digest}`)) return
  for (const part of [...layers, config]) await target.putBlob(part.digest, blob(part.digest))
  await target.putManifest(digest, text, mediaType)
}

if (import.meta.main) await pushImage(readInput(PushInput))
