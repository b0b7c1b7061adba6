import type { KV } from '@nats-io/kv'
import { pino } from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { openConfig } from '../chassis/sealed-config.ts'
import { createSealer, SealError } from '../chassis/sealing.ts'
import { createSigner } from '../chassis/signing.ts'
import type { FunctionRecord, VersionConfig } from '../contracts/function.ts'
import { newRecord } from './function-record.ts'
import { Registry } from './registry.ts'
import { memoryKv } from './testing/memory-kv.ts'

const word = 'a-secret-of-this-test'
const settings = {
  runtime: 'nodejs24.x',
  handler: 'index.handler',
  description: '',
  role: 'r',
  memoryMiB: 128,
  timeoutMs: 3000,
  ephemeralStorageMiB: 512,
  environment: { DB_PASSWORD: word },
} as const
const code = { codeSha256: 'c', codeSize: 1, zipDigest: 'z', imageDigest: 'i' }
const record = newRecord('one', 'f', 1, settings, code, {})
const first = { id: 's1', key: '1'.repeat(64) }
const second = { id: 's2', key: '2'.repeat(64) }

const opened: Registry[] = []
afterEach(() => opened.splice(0).forEach((registry) => registry.close()))

const signingKey = { id: 's1', seed: '1'.repeat(64) }

interface Keys {
  sealing?: { id: string; key: string }[]
  signing?: { id: string; seed: string }[]
  adoptUnsigned?: boolean
}
const open = async (kv: KV, { sealing = [first], signing = [signingKey], adoptUnsigned = false }: Keys = {}) => {
  const registry = new Registry({
    kv,
    connection: { status: () => (async function* () {})() } as never,
    logger: pino({ level: 'silent' }),
    region: 'r',
    sealer: createSealer(sealing),
    signer: createSigner(signing),
    adoptUnsigned,
    resyncMs: 3_600_000,
  })
  opened.push(registry)
  registry.start()
  await vi.waitFor(() => expect(registry.synced).toBe(true))
  return registry
}
const stored = async (kv: KV, key: string): Promise<string> => (await kv.get(key))?.string() ?? ''

describe('variables of a function', () => {
  it('are text in memory and sealed in the store: of the function, of its changes, of its versions', async () => {
    const kv = memoryKv()
    const registry = await open(kv)
    await registry.create(record)
    await registry.addVersion({ ...record.latest, version: '1' })
    await registry.update('one', 'f', (before) => ({ ...before, tags: { a: 'b' } }))
    expect(registry.get('one', 'f').latest.environment).toEqual({ DB_PASSWORD: word })
    expect(registry.version('one', 'f', 1)?.environment).toEqual({ DB_PASSWORD: word })
    for (const key of ['one.f', 'one.f.1']) {
      expect(await stored(kv, key)).toContain('fy1.s1.')
      expect(await stored(kv, key)).not.toContain(word)
      expect(await stored(kv, key)).not.toContain('DB_PASSWORD')
    }
    const other = await open(kv)
    expect(other.get('one', 'f')).toEqual(registry.get('one', 'f'))
    expect(other.version('one', 'f', 1)?.environment).toEqual({ DB_PASSWORD: word })
  })

  it('of a time when nothing was sealed are read, and sealed', async () => {
    const kv = memoryKv()
    await kv.put('one.f', JSON.stringify(record))
    await kv.put('one.f.1', JSON.stringify({ ...record.latest, version: '1' }))
    const registry = await open(kv, { adoptUnsigned: true })
    for (const key of ['one.f', 'one.f.1'])
      await vi.waitFor(async () => expect(await stored(kv, key)).not.toContain(word))
    expect(registry.get('one', 'f').latest).toEqual(record.latest)
    expect(registry.version('one', 'f', 1)?.environment).toEqual({ DB_PASSWORD: word })
  })

  it('are sealed anew after a rotation, and the key before can go', async () => {
    const kv = memoryKv()
    await (await open(kv)).create(record)
    await open(kv, { sealing: [second, first] })
    await vi.waitFor(async () => expect(await stored(kv, 'one.f')).toContain('fy1.s2.'))
    expect((await open(kv, { sealing: [second] })).get('one', 'f').latest.environment).toEqual({ DB_PASSWORD: word })
    // Negative control: without the key there is nothing to read.
    expect((await open(kv)).find('one', 'f')).toBeUndefined()
  })

  it('of one function open for no other', async () => {
    const kv = memoryKv()
    const registry = await open(kv)
    await registry.create(record)
    await registry.create(newRecord('two', 'g', 1, { ...settings, environment: {} }, code, {}))
    const { latest: mine } = JSON.parse(await stored(kv, 'one.f')) as FunctionRecord
    const stolen: VersionConfig = { ...mine, tenant: 'two', name: 'g' }
    expect(openConfig(createSealer([first]), mine).environment).toEqual({ DB_PASSWORD: word })
    expect(() => openConfig(createSealer([first]), stolen)).toThrow(SealError)
  })
})

describe('an entry of the registry', () => {
  const tampered: Record<string, (entry: FunctionRecord, other: FunctionRecord) => object> = {
    'with another digest of its code': (entry) => ({ ...entry, latest: { ...entry.latest, imageDigest: 'j' } }),
    'that is another function’s': (_entry, other) => other,
    'that is another function’s, renamed': (entry, other) => ({ ...other, tenant: entry.tenant, name: entry.name }),
    'with a policy that opens it': (entry) => ({
      ...entry,
      policies: { $LATEST: { revisionId: 'r', statements: [{ sid: 's', action: '*', principal: '*' }] } },
    }),
    'without its signature': ({ signature: _signature, ...entry }) => entry,
  }

  it.each(Object.entries(tampered))('%s is none', async (_case, change) => {
    const kv = memoryKv()
    const registry = await open(kv)
    await registry.create(record)
    await registry.create(newRecord('one', 'g', 1, settings, { ...code, imageDigest: 'k' }, {}))
    const parsed = async (key: string) => JSON.parse(await stored(kv, key)) as FunctionRecord
    const [mine, other] = [await parsed('one.f'), await parsed('one.g')]
    // Negative control: what is there is taken.
    expect((await open(kv)).find('one', 'f')).toEqual(record)
    await kv.put('one.f', JSON.stringify(change(mine, other)))
    expect((await open(kv)).find('one', 'f')).toBeUndefined()
    // A gateway that had the right one keeps it.
    await vi.waitFor(() => expect(registry.find('one', 'f')).toEqual(record))
  })

  it('is signed anew after a rotation, and the key before can go', async () => {
    const kv = memoryKv()
    await (await open(kv)).create(record)
    const next = { id: 's2', seed: '2'.repeat(64) }
    await open(kv, { signing: [next, signingKey] })
    await vi.waitFor(async () => expect(await stored(kv, 'one.f')).toContain('ed1.s2.'))
    expect((await open(kv, { signing: [next] })).find('one', 'f')).toEqual(record)
    expect((await open(kv)).find('one', 'f')).toBeUndefined()
  })
})
