import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import { followJoinedNodes, type JoinedNodes } from '../../chassis/joined-nodes.ts'
import { createSigner } from '../../chassis/signing.ts'
import { derivedToken, JoinToken, joinTokenContent, nodeBearer, type JoinRequest } from '../../contracts/joining.ts'
import { joinedNodeKey, joinTokenKey } from '../../contracts/subjects.ts'
import { makeCertificate } from '../../node-agent/joining/certificate.ts'
import { testConfig, testJoining, testSigner } from '../testing/gateway.ts'
import { memoryKv } from '../testing/memory-kv.ts'
import { createJoining, type Joining } from './joining.ts'

const logger = pino({ level: 'silent' })
const connection = { status: () => (async function* () {})() } as never
const pair = await makeCertificate('a', '192.0.2.1')
const tls = { ca: pair.cert, cert: 'c', key: 'k' }
const url = 'https://192.0.2.1:7100'
const by = 'arn:aws:iam::000000000000:user/root'

let kv: ReturnType<typeof memoryKv>
let joined: JoinedNodes
let told: string[]
let others: string[]

/** A gateway of its own over the same store. */
const gateway = (signer = testSigner, config = { ...testConfig(), ...testJoining }): Joining => {
  const withTls = { ...config, calls: { ...testJoining.calls, tls } }
  const scheduler = {
    nodes: async () => others.map((at) => ({ nodeId: 'yard-1', url: at })) as never,
    tellNode: async (nodeId: string, action: string) => void told.push(`${action} ${nodeId}`),
  }
  const made = createJoining({ config: withTls, kv, signer, joined, scheduler, logger })
  if (!made) throw new Error('nobody can join')
  return made
}

beforeEach(() => {
  kv = memoryKv()
  joined = followJoinedNodes({ kv, connection, logger, resyncMs: 3_600_000, verifier: testSigner })
  told = []
  others = []
})

const tokenOf = async (joining: Joining, ttlMs = 600_000): Promise<JoinToken> => {
  const { token } = await joining.makeToken({ ttlMs, by, pool: 'edge', labels: { zone: 'a' } })
  return joinTokenContent(token) as JoinToken
}
const requestOf = ({ tokenId, secret }: JoinToken, more: Partial<JoinRequest> = {}): JoinRequest => ({
  tokenId,
  secret,
  name: 'a',
  url,
  certificate: pair.cert,
  ...more,
})

describe('a token', () => {
  it('makes one node, with what its operator said of it', async () => {
    const joining = gateway()
    const token = await tokenOf(joining)
    const { nodeId, agent } = await joining.join(requestOf(token))
    const { nodeToken } = testConfig()
    expect(nodeId).toBe('yard_a')
    expect(agent).toMatchObject({
      nodeId,
      pool: 'edge',
      labels: { zone: 'a' },
      logLevel: 'warn',
      internalToken: derivedToken(nodeToken, nodeId),
      callToken: nodeBearer(testJoining.calls.token, nodeId),
      nats: { user: nodeId, password: derivedToken(testJoining.joining.issuerSeed, nodeId) },
      joined: { controlAddresses: ['127.0.0.1'] },
    })
    expect(joining.nodes()).toMatchObject([{ nodeId, url, by, pool: 'edge' }])
    await expect(joining.join(requestOf(token, { name: 'b', url: 'https://192.0.2.2:1' }))).rejects.toMatchObject({
      code: 'FORBIDDEN',
    })
  })

  it('is used once, also by two gateways at the same time', async () => {
    const [one, two] = [gateway(), gateway()]
    const token = await tokenOf(one)
    const answers = await Promise.allSettled([
      one.join(requestOf(token)),
      two.join(requestOf(token, { name: 'b', url: 'https://192.0.2.2:7100' })),
    ])
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(one.nodes()).toHaveLength(1)
  })

  it.each([
    ['another secret', { secret: '0'.repeat(64) }],
    ['another id', { tokenId: '0'.repeat(16) }],
  ])('with %s is nobody’s', async (_what, more) => {
    const joining = gateway()
    await expect(joining.join(requestOf(await tokenOf(joining), more))).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  it('ends with its time, and is swept when the next one is made', async () => {
    const joining = gateway()
    const token = await tokenOf(joining, -1)
    await expect(joining.join(requestOf(token))).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await tokenOf(joining)
    expect(await kv.get(joinTokenKey(token.tokenId))).toBeNull()
  })

  it('that somebody else wrote into the store is none; negative control: one by another gateway is', async () => {
    const foreign = gateway(createSigner([{ id: 's1', seed: '5'.repeat(64) }]))
    await expect(gateway().join(requestOf(await tokenOf(foreign)))).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(gateway().join(requestOf(await tokenOf(gateway())))).resolves.toMatchObject({ nodeId: 'yard_a' })
  })

  it('of which the store knows the hash alone', async () => {
    const { tokenId, secret } = await tokenOf(gateway())
    expect((await kv.get(joinTokenKey(tokenId)))?.string()).not.toContain(secret)
  })
})

describe('a machine is refused, and its token is good for another try', () => {
  it.each([
    ['without TLS', { url: 'http://192.0.2.1:7100' }, 'INVALID_REQUEST'],
    ['at an address that is spelled in another way', { url: 'https://192.0.2.1:07100' }, 'INVALID_REQUEST'],
    ['at what is no address', { url: 'https://[' }, 'INVALID_REQUEST'],
    ['without a certificate', { certificate: undefined }, 'INVALID_REQUEST'],
    ['with what is no certificate', { certificate: pair.cert.replace(/M/g, 'N') }, 'INVALID_REQUEST'],
    ['at the address of another node', { url: 'https://192.0.2.7:7100' }, 'ALREADY_EXISTS'],
    ['with a name that makes too long an id', { name: 'a'.repeat(60) }, 'INVALID_REQUEST'],
  ])('%s', async (_what, more, code) => {
    others = ['https://192.0.2.7:7100']
    const joining = gateway()
    const token = await tokenOf(joining)
    await expect(joining.join(requestOf(token, more as Partial<JoinRequest>))).rejects.toMatchObject({ code })
    await expect(joining.join(requestOf(token))).resolves.toMatchObject({ nodeId: 'yard_a' })
  })

  it('with the name of one that is there', async () => {
    const joining = gateway()
    await joining.join(requestOf(await tokenOf(joining)))
    const token = await tokenOf(joining)
    await expect(joining.join(requestOf(token, { url: 'https://192.0.2.2:7100' }))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    })
  })
})

const shown = (nodeId = 'yard_a') => `Bearer ${nodeBearer(testJoining.calls.token, nodeId)}`

describe('a node that joined', () => {
  it('asks for what is said of it, and changes its certificate', async () => {
    const joining = gateway()
    const first = await joining.join(requestOf(await tokenOf(joining)))
    expect(await joining.refresh(shown(), {})).toEqual(first)
    const next = await makeCertificate('a', '192.0.2.1')
    await joining.refresh(shown(), { certificate: next.cert })
    // Both are good while it changes.
    expect(joined.get('yard_a')?.certificates).toEqual([next.cert, pair.cert])
    await joining.refresh(shown(), { certificate: next.cert })
    expect(joined.get('yard_a')?.certificates).toEqual([next.cert, pair.cert])
    expect(joining.isNode(shown())).toBe(true)
  })

  it('is told from others by its own token alone', async () => {
    const joining = gateway()
    await joining.join(requestOf(await tokenOf(joining)))
    const forged = `Bearer yard_a.${derivedToken(testJoining.calls.token, 'yard_b')}`
    for (const wrong of [undefined, 'Bearer', `Bearer ${testJoining.calls.token}`, forged, shown('yard_b')]) {
      expect(joining.isNode(wrong)).toBe(false)
      await expect(joining.refresh(wrong, {})).rejects.toMatchObject({ code: 'FORBIDDEN' })
    }
  })

  it('is none any more when it is removed', async () => {
    const joining = gateway()
    await joining.join(requestOf(await tokenOf(joining)))
    await joining.remove('yard_a')
    expect(told).toEqual(['drain yard_a'])
    expect(joining.nodes()).toEqual([])
    expect(joining.isNode(shown())).toBe(false)
    await expect(joining.refresh(shown(), {})).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(joining.remove('yard_a')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(joining.join(requestOf(await tokenOf(joining)))).resolves.toMatchObject({ nodeId: 'yard_a' })
  })

  it('is none by a record that no gateway wrote', async () => {
    const joining = gateway()
    await joining.join(requestOf(await tokenOf(joining)))
    const record = (await kv.get(joinedNodeKey('yard_a')))?.json<object>()
    await kv.put(joinedNodeKey('yard_a'), JSON.stringify({ ...record, url: 'https://192.0.2.66:7100' }))
    expect(await joined.confirm('yard_a')).toBeUndefined()
    await kv.put(joinedNodeKey('yard_b'), JSON.stringify(record))
    expect(await joined.confirm('yard_b')).toBeUndefined()
  })

  it('is one still after the keys are rotated twice', async () => {
    const joining = gateway()
    await joining.join(requestOf(await tokenOf(joining)))
    const old = { id: 's1', seed: '0'.repeat(64) }
    const newer = createSigner([{ id: 's2', seed: '2'.repeat(64) }, old])
    await gateway(newer).signAnew()
    const newest = createSigner([
      { id: 's3', seed: '3'.repeat(64) },
      { id: 's2', seed: '2'.repeat(64) },
    ])
    const entry = await kv.get(joinedNodeKey('yard_a'))
    expect(() => newest.check(joinedNodeKey('yard_a'), entry?.json() ?? {})).not.toThrow()
  })
})

it('nobody joins an installation that does not say so', () => {
  const scheduler = { nodes: async () => [], tellNode: async () => undefined }
  expect(createJoining({ config: testConfig(), kv, signer: testSigner, joined, scheduler, logger })).toBeUndefined()
})
