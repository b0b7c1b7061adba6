/** Principals and keys over HTTP: issued, changed, ended, and never told again. */
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSealer } from '../../chassis/sealing.ts'
import { account, otherAccount, startGateway, testSigner, type TestGateway } from '../testing/gateway.ts'
import { memoryKv } from '../testing/memory-kv.ts'
import { signHeaders, type SignOptions } from '../testing/signed-head.ts'
import { AccessDirectory } from './directory.ts'

interface Key {
  accessKeyId: string
  secretAccessKey: string
}

let gateway: TestGateway
beforeEach(async () => {
  gateway = await startGateway()
})
afterEach(async () => {
  vi.useRealTimers()
  expect(gateway.problems).toEqual([])
  await gateway.close()
})

const call = async (
  method: string,
  path: string,
  body?: unknown,
  credentials: SignOptions['credentials'] = account,
) => {
  const text = body === undefined ? '' : JSON.stringify(body)
  const { host: _host, ...headers } = await signHeaders(gateway.port, method, path, text, { credentials })
  const reply = await fetch(gateway.url + path, { method, headers, ...(text ? { body: text } : {}) })
  const answer = await reply.text()
  return {
    status: reply.status,
    type: reply.headers.get('x-amzn-errortype'),
    json: answer ? (JSON.parse(answer) as never) : undefined,
  }
}
const base = '/forkyard/v1/principals'
const put = (name: string, roles: string[], by?: Key) => call('PUT', `${base}/${name}`, { roles }, by)
const issue = async (name: string, body: object = {}, by?: Key): Promise<Key> =>
  (await call('POST', `${base}/${name}/keys`, body, by)).json as unknown as Key
const whoami = (key: Key) => call('GET', '/forkyard/v1/caller', undefined, key)

describe('a key', () => {
  let key: Key
  beforeEach(async () => {
    await put('ada', ['viewer'])
    key = await issue('ada')
  })
  const path = () => `${base}/ada/keys/${key.accessKeyId}`

  it('acts for its principal', async () => {
    expect(await whoami(key)).toMatchObject({
      status: 200,
      json: {
        tenant: 'default',
        account: '000000000000',
        principal: 'ada',
        arn: 'arn:aws:iam::000000000000:user/ada',
        roles: ['viewer'],
      },
    })
  })

  it('tells its secret once', async () => {
    const listed = await call('GET', `${base}/ada/keys`)
    expect(listed.json).toEqual({
      keys: [{ accessKeyId: key.accessKeyId, status: 'Active', createdAt: expect.any(String) as string }],
    })
  })

  it('is refused while it is inactive', async () => {
    await call('PUT', path(), { status: 'Inactive' })
    expect(await whoami(key)).toMatchObject({ status: 403, type: 'UnrecognizedClientException' })
    await call('PUT', path(), { status: 'Active' })
    expect((await whoami(key)).status).toBe(200)
  })

  it('is refused once it is revoked, as if it had never been', async () => {
    expect((await call('DELETE', path())).status).toBe(204)
    expect(await whoami(key)).toMatchObject({ status: 403, type: 'UnrecognizedClientException' })
    expect((await call('DELETE', path())).status).toBe(404)
  })

  it('is refused from the moment at which it ends', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const now = Date.now()
    await call('PUT', path(), { expiresAt: new Date(now + 60_000).toISOString() })
    vi.setSystemTime(now + 59_000)
    expect((await whoami(key)).status).toBe(200)
    vi.setSystemTime(now + 60_000)
    expect(await whoami(key)).toMatchObject({ status: 403, type: 'ExpiredTokenException' })
    await call('PUT', path(), { expiresAt: null })
    expect((await whoami(key)).status).toBe(200)
  })

  it('loses what its principal loses, at once', async () => {
    expect((await call('GET', '/2015-03-31/functions', undefined, key)).status).toBe(200)
    await put('ada', ['invoker'])
    expect(await call('GET', '/2015-03-31/functions', undefined, key)).toMatchObject({
      status: 403,
      type: 'AccessDeniedException',
      json: {
        Message:
          'User: arn:aws:iam::000000000000:user/ada is not authorized to perform: lambda:ListFunctions on resource: * because no identity-based policy allows the lambda:ListFunctions action',
      },
    })
  })

  it('ends with its principal, and is none of the next of that name', async () => {
    expect((await call('DELETE', `${base}/ada`)).status).toBe(204)
    await put('ada', ['admin'])
    expect(await whoami(key)).toMatchObject({ status: 403, type: 'UnrecognizedClientException' })
  })

  it('is changed through its own principal alone', async () => {
    await put('bob', ['viewer'])
    expect((await call('PUT', `${base}/bob/keys/${key.accessKeyId}`, { status: 'Inactive' })).status).toBe(404)
    expect((await call('DELETE', `${base}/bob/keys/${key.accessKeyId}`)).status).toBe(404)
    expect((await whoami(key)).status).toBe(200)
  })

  it.each([
    ['no time', { expiresAt: 'tomorrow' }],
    ['a time that is none', { expiresAt: '2026-13-40T00:00:00Z' }],
    ['no status', { status: 'Gone' }],
  ])('takes %s for what it is', async (_case, change) => {
    expect((await call('PUT', path(), change)).status).toBe(400)
  })
})

describe('an admin', () => {
  let admin: Key
  beforeEach(async () => {
    await put('boss', ['admin'])
    admin = await issue('boss')
  })

  it('keeps principals of its tenant', async () => {
    expect((await put('ada', ['viewer'], admin)).status).toBe(200)
    expect((await whoami(await issue('ada', {}, admin))).status).toBe(200)
  })

  it.each<[string, () => Promise<{ status: number }>]>([
    ['makes no operator', () => put('ada', ['operator'], admin)],
    ['does not make itself one', () => put('boss', ['admin', 'operator'], admin)],
    ['issues no key of an operator', () => call('POST', `${base}/op/keys`, {}, admin)],
    ['deletes no operator', () => call('DELETE', `${base}/op`, undefined, admin)],
    ['takes no operator’s role', () => put('op', ['viewer'], admin)],
    ['keeps no principals of another tenant', () => call('PUT', `${base}/ada?tenant=two`, { roles: [] }, admin)],
  ])('%s', async (_case, attempt) => {
    await put('op', ['operator'])
    expect((await attempt()).status).toBe(403)
  })
})

describe('the stack’s own principal', () => {
  it('cannot be made, changed or deleted at run time', async () => {
    expect((await put('root', ['viewer'])).status).toBe(400)
    expect((await call('DELETE', `${base}/root`)).status).toBe(404)
  })

  it('makes the first principal of another tenant', async () => {
    await call('PUT', `${base}/carol?tenant=three`, { roles: ['admin'] })
    const key = (await call('POST', `${base}/carol/keys?tenant=three`, {})).json as unknown as Key
    expect((await whoami(key)).json).toMatchObject({ tenant: 'three', roles: ['admin'] })
    const { tenants } = (await call('GET', '/forkyard/v1/tenants')).json as unknown as { tenants: { name: string }[] }
    expect(tenants.map(({ name }) => name)).toEqual(['default', 'three', 'two'])
  })

  it('makes no tenant whose account number another has', async () => {
    expect((await call('PUT', `${base}/carol?tenant=000000000000`, { roles: [] })).status).toBe(400)
  })
})

describe('a signature', () => {
  it.each<[string, (headers: Record<string, string>) => void]>([
    [
      'of no algorithm',
      (headers) => (headers['authorization'] = (headers['authorization'] ?? '').replace('AWS4-HMAC-SHA256', 'none')),
    ],
    [
      'for another service',
      (headers) => (headers['authorization'] = (headers['authorization'] ?? '').replace('/lambda/', '/s3/')),
    ],
    [
      'for another region',
      (headers) => (headers['authorization'] = (headers['authorization'] ?? '').replace('eu-test-1', 'eu-test-2')),
    ],
    [
      'of another key',
      (headers) =>
        (headers['authorization'] = (headers['authorization'] ?? '').replace(
          account.accessKeyId,
          otherAccount.accessKeyId,
        )),
    ],
    ['that is absent', (headers) => delete headers['authorization']],
  ])('%s lets nobody in', async (_case, spoil) => {
    const path = '/forkyard/v1/caller'
    const { host: _host, ...headers } = await signHeaders(gateway.port, 'GET', path, '')
    expect((await fetch(gateway.url + path, { headers })).status).toBe(200)
    spoil(headers)
    expect((await fetch(gateway.url + path, { headers })).status).toBe(403)
  })
})

describe('the directory', () => {
  const connection = { status: () => (async function* () {})() } as never
  const logger = pino({ level: 'silent' })
  const first = { id: 's1', key: '1'.repeat(64) }
  const second = { id: 's2', key: '2'.repeat(64) }
  const open = (kv: ReturnType<typeof memoryKv>, sealingKeys: { id: string; key: string }[]) => {
    const sealer = createSealer(sealingKeys)
    const directory = new AccessDirectory({
      kv,
      connection,
      logger,
      sealer,
      signer: testSigner,
      accounts: [account],
      resyncMs: 3_600_000,
    })
    directory.start()
    return directory
  }

  it('of another gateway knows of a new key, and of its end, by the watch', async () => {
    const kv = memoryKv()
    const [here, there] = [open(kv, [first]), open(kv, [first])]
    await here.putPrincipal('two', 'ada', ['viewer'])
    const { record } = await here.createKey('two', 'ada', undefined)
    await vi.waitFor(() => expect(there.get(record.accessKeyId)?.principal).toBe('ada'))
    await here.updateKey('two', 'ada', record.accessKeyId, { status: 'Inactive' })
    await vi.waitFor(() => expect(there.get(record.accessKeyId)).toBeUndefined())
    here.close()
    there.close()
  })

  it('keeps no secret as text in the store, and refuses one that was put in another’s place', async () => {
    const kv = memoryKv()
    const directory = open(kv, [first])
    await directory.putPrincipal('two', 'ada', ['viewer'])
    const mine = await directory.createKey('two', 'ada', undefined)
    const other = await directory.createKey('two', 'ada', undefined)
    const stored = async (id: string) => (await kv.get(`key.${id}`))?.string() ?? ''
    expect(await stored(mine.record.accessKeyId)).not.toContain(mine.secretAccessKey)
    const swapped = { ...other.record, sealedSecret: mine.record.sealedSecret }
    const place = `key.${other.record.accessKeyId}`
    await kv.put(place, JSON.stringify(testSigner.sign(place, swapped)))
    const fresh = open(kv, [first])
    await vi.waitFor(() => expect(fresh.get(mine.record.accessKeyId)?.secretAccessKey).toBe(mine.secretAccessKey))
    expect(fresh.get(other.record.accessKeyId)).toBeUndefined()
    directory.close()
    fresh.close()
  })

  it('takes no role, no principal and no key that somebody else has written into the store', async () => {
    const kv = memoryKv()
    const directory = open(kv, [first])
    await directory.putPrincipal('two', 'ada', ['viewer'])
    const { record } = await directory.createKey('two', 'ada', undefined)
    const [ada] = directory.principals('two')
    const signed = JSON.parse((await kv.get('principal.two.ada'))?.string() ?? '') as object
    await kv.put('principal.two.ada', JSON.stringify({ ...signed, roles: ['admin', 'operator'] }))
    await kv.put('principal.two.eve', JSON.stringify({ ...ada, name: 'eve', roles: ['admin'] }))
    await kv.put(`key.${record.accessKeyId}`, JSON.stringify({ ...record, tenant: 'default' }))
    const fresh = open(kv, [first])
    await vi.waitFor(() => expect(fresh.synced).toBe(true))
    expect([fresh.principals('two'), fresh.get(record.accessKeyId)]).toEqual([[], undefined])
    // Negative control: as they were, they are taken.
    await kv.put('principal.two.ada', JSON.stringify(signed))
    await vi.waitFor(() => expect(fresh.principals('two')).toEqual([ada]))
    directory.close()
    fresh.close()
  })

  it('seals anew after a rotation, so that the key before can go', async () => {
    const kv = memoryKv()
    const before = open(kv, [first])
    await before.putPrincipal('two', 'ada', ['viewer'])
    const { record, secretAccessKey } = await before.createKey('two', 'ada', undefined)
    before.close()
    const rotated = open(kv, [second, first])
    await vi.waitFor(async () => expect((await kv.get(`key.${record.accessKeyId}`))?.string()).toContain('fy1.s2.'))
    rotated.close()
    const after = open(kv, [second])
    await vi.waitFor(() => expect(after.get(record.accessKeyId)?.secretAccessKey).toBe(secretAccessKey))
    after.close()
    const without = open(kv, [first])
    await vi.waitFor(() => expect(without.synced).toBe(true))
    expect(without.get(record.accessKeyId)).toBeUndefined()
    without.close()
  })
})
