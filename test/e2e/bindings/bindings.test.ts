/** Functions use a database, a store and an HTTP origin by name, with clients that others wrote and no credential of their own. */
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { UpdateFunctionConfigurationCommand } from '@aws-sdk/client-lambda'
import type { Bindings } from '../../../services/contracts/bindings.ts'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import { bundled } from '../../support/bundled.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../../support/lambda.ts'
import { auditOf } from '../../support/network-probe.ts'
import { startPostgres, type TestPostgres } from '../../support/postgres.ts'
import { startStore, type TestStore } from '../../support/s3-store.ts'
import { startTrafficTarget, type TrafficTarget } from '../../support/traffic-target.ts'
import { installation } from '../installation.ts'

const target = installation()
const client = lambdaClient(target)

const source = `
import pg from 'pg'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'

const steps = {
  async sql({ sql, host }) {
    const client = new pg.Client({ ...(host ? { host } : {}), connectionTimeoutMillis: 3000 })
    client.on('error', () => {})
    await client.connect()
    try { return (await client.query(sql)).rows } finally { await client.end() }
  },
  async put({ put }) {
    const s3 = new S3Client({})
    await s3.send(new PutObjectCommand({ Bucket: 'things', Key: put, Body: 'of ' + put }))
    return (await s3.send(new GetObjectCommand({ Bucket: 'things', Key: put }))).Body.transformToString()
  },
  async get({ get }) {
    const reply = await fetch(get, { signal: AbortSignal.timeout(3000), redirect: 'manual' })
    return [reply.status, await reply.text()]
  },
  async variables() { return Object.values(process.env) },
}
export const handler = async ({ todo }) => {
  const told = []
  for (const step of todo) {
    const kind = Object.keys(steps).find((name) => name in step)
    try { told.push(await steps[kind](step)) } catch (error) { told.push(error.code ?? error.cause?.code ?? String(error)) }
  }
  return told
}
`
type Step = Readonly<Record<string, string | true>>

let outside: TrafficTarget
let database: TestPostgres
let store: TestStore
let api: Server
/** Last in, first out. */
const ends: (() => unknown)[] = []
let bindings: Bindings
let code: Record<string, string>

beforeAll(async () => {
  // Real servers on an address of this host that is neither loopback nor the platform's.
  outside = await startTrafficTarget()
  ends.push(() => outside.close())
  database = await startPostgres(outside.host4)
  ends.push(() => database.stop())
  store = await startStore(outside.host4)
  ends.push(() => store.stop())
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const own = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
  await own.send(new CreateBucketCommand({ Bucket: 'things' }))
  api = createServer((request, response) => {
    response.end(`${request.url} ${request.headers.authorization}`)
  }).listen(0, outside.host4)
  await once(api, 'listening')
  ends.push(() => {
    api.closeAllConnections()
    api.close()
  })
  const { host, port, user, password, database: name } = database
  bindings = {
    db: { type: 'postgresql', host, port, user, password, database: name, tls: 'disable' },
    files: { type: 's3', endpoint, region, accessKeyId, secretAccessKey, bucket: 'things' },
    api: {
      type: 'http',
      url: `http://${outside.host4}:${(api.address() as AddressInfo).port}/v1`,
      headers: { authorization: 'Bearer a-token-of-the-api' },
    },
  }
  code = await bundled(source)
}, 60_000)
afterAll(async () => {
  for (const end of ends.toReversed()) await end()
})

const pathOf = (name: string) => `/forkyard/v1/functions/${name}/bindings`
const bind = async (name: string, to: Bindings): Promise<unknown> =>
  (await signedFetch(target, { method: 'PUT', path: pathOf(name), body: { bindings: to } })).json()

const bound = async (to?: Bindings): Promise<string> => {
  const name = uniqueName('bound')
  await createFunction(client, name, code, { MemorySize: 256, Timeout: 30 })
  if (to) await bind(name, to)
  return name
}

const ask = async (name: string, todo: readonly Step[], start?: 'boot' | 'restore'): Promise<unknown[]> => {
  const { json, text } = await invoke(client, name, { todo }, start ? { start } : {})
  expect(json, text).toBeInstanceOf(Array)
  return json as unknown[]
}

const everything: readonly Step[] = [
  { sql: 'select current_user as me' },
  { put: 'a' },
  { get: 'http://api.internal/things?x=1' },
]
const answers = () => [[{ me: database.user }], 'of a', [200, '/v1/things?x=1 Bearer a-token-of-the-api']]

describe('a function with bindings', () => {
  it.each(['boot', 'restore'] as const)(
    'uses them by name, with clients as their vendors ship them, after a %s',
    async (start) => {
      expect(await ask(await bound(bindings), everything, start)).toEqual(answers())
    },
  )

  it('and one without them, side by side: nothing is opened for the other', async () => {
    const [first, other] = [await bound(bindings), await bound({ api: bindings['api'] as Bindings[string] })]
    expect(await ask(first, everything)).toEqual(answers())
    expect(await ask(other, [{ get: 'http://api.internal/' }, { sql: 'select 1', host: 'db.internal' }])).toEqual([
      [200, '/v1/ Bearer a-token-of-the-api'],
      'ENOTFOUND',
    ])
  })

  it('reaches what they name only through them', async () => {
    const name = await bound(bindings)
    const [address] = (await ask(name, [{ get: `http://${outside.host4}:${new URL(store.endpoint).port}/` }])) as [
      unknown,
    ]
    expect(address).not.toBeInstanceOf(Array)
  })

  it('gets them while it runs, loses them at once, and keeps none after its deletion', async () => {
    const name = await bound()
    const asked: Step = { get: 'http://api.internal/' }
    expect(await ask(name, [asked])).not.toEqual([[200, expect.anything()]])
    await bind(name, { api: bindings['api'] as Bindings[string] })
    await vi.waitFor(async () => expect(await ask(name, [asked])).toEqual([[200, expect.stringContaining('/v1/')]]), {
      timeout: 10_000,
      interval: 200,
    })
    await signedFetch(target, { method: 'DELETE', path: pathOf(name) })
    await vi.waitFor(async () => expect(await ask(name, [asked])).not.toEqual([[200, expect.anything()]]), {
      timeout: 10_000,
      interval: 200,
    })
  })

  it('has no credential: not in its variables, not in what the platform tells of it', async () => {
    const name = await bound(bindings)
    const secrets = [database.password, store.secretAccessKey, store.accessKeyId, 'a-token-of-the-api']
    const [variables] = await ask(name, [{ variables: true }])
    const view = await (await signedFetch(target, { path: pathOf(name) })).text()
    for (const secret of secrets) expect(JSON.stringify([variables, view])).not.toContain(secret)
    expect(JSON.parse(view)).toMatchObject({
      bindings: { db: { type: 'postgresql' }, files: { target: `${store.endpoint}/things` }, api: { type: 'http' } },
    })
  })

  it('cannot be led to the host or to metadata services, by address or by name', async () => {
    const name = await bound({
      metadata: { type: 'http', url: 'http://169.254.169.254' },
      loopback: { type: 'http', url: 'http://127.0.0.1:22' },
      decimal: { type: 'http', url: 'http://2130706433' },
      mapped: { type: 'http', url: 'http://[::ffff:127.0.0.1]' },
      named: { type: 'http', url: 'http://localhost:22' },
    })
    const names = ['metadata', 'loopback', 'decimal', 'mapped', 'named']
    const told = await ask(
      name,
      names.map((of): Step => ({ get: `http://${of}.internal/` })),
    )
    expect(told).toEqual(names.map(() => [403, expect.stringContaining('may not go')]))
  })

  it('leaves a record of each use, with the invocation', async () => {
    const name = await bound(bindings)
    const since = Date.now()
    await ask(name, everything)
    await vi.waitFor(
      async () => {
        const used = (await auditOf(target, name, since)).filter(({ kind }) => kind === 'binding')
        expect(used.map((record) => [record.verdict, 'binding' in record && record.binding])).toEqual([
          ['used', 'db'],
          ['used', 'files'],
          ['used', 'files'],
          ['used', 'api'],
        ])
        expect(used.every(({ invocationId }) => invocationId !== undefined)).toBe(true)
      },
      { timeout: 10_000, interval: 200 },
    )
  })

  it('keeps them over a change of its configuration', async () => {
    const name = await bound(bindings)
    await client.send(new UpdateFunctionConfigurationCommand({ FunctionName: name, Timeout: 20 }))
    expect(await ask(name, everything.slice(2))).toEqual(answers().slice(2))
  })
})

describe('bindings that are wrong', () => {
  it.each([
    ['a name that is no label', { A_b: { type: 'http', url: 'http://a' } }],
    ['an unknown kind', { a: { type: 'ftp', url: 'ftp://a' } }],
    ['credentials in a URL', { a: { type: 'http', url: 'http://u:p@a' } }],
    ['no URL', { a: { type: 'http', url: 'http://' } }],
    [
      'too many',
      Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`a${at}`, { type: 'http', url: 'http://a' }])),
    ],
  ])('by %s are refused, and change nothing', async (_what, to) => {
    const name = await bound({ api: bindings['api'] as Bindings[string] })
    await expect(bind(name, to as Bindings)).rejects.toThrow(/400/)
    expect(await (await signedFetch(target, { path: pathOf(name) })).json()).toMatchObject({ bindings: { api: {} } })
  })
})
