import { createHash, randomBytes } from 'node:crypto'
import { PassThrough, Readable } from 'node:stream'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { createMetrics } from '../../chassis/http-server.ts'
import { codeImagePath } from '../../contracts/code-images.ts'
import { protocolHeaders } from '../../contracts/protocol.ts'
import { createCodeImageMetrics } from './code-image-metrics.ts'
import type { ImageFile } from './code-images.ts'
import { startPeerServer } from './peer-server.ts'

const token = (of: string) => of.repeat(32)
const closes: (() => Promise<void>)[] = []
afterEach(async () => void (await Promise.all(closes.splice(0).map((close) => close()))))

const bytes = randomBytes(1000)
const digest = createHash('sha256').update(bytes).digest('hex')

const serverOf = async (read: (digest: string) => Promise<ImageFile | undefined>) => {
  const missing: string[] = []
  const server = await startPeerServer(
    { listen: { host: '127.0.0.1', port: 0 }, token: token('p') },
    {
      images: { read },
      onMissing: (each) => void missing.push(each),
      metrics: createCodeImageMetrics(createMetrics()),
      logger: pino({ level: 'silent' }),
      tls: undefined,
    },
  )
  closes.push(() => server.close())
  const get = (path: string, as = token('p')) =>
    fetch(server.url + path, { headers: { ...protocolHeaders, authorization: `Bearer ${as}` } })
  return { get, missing }
}
const here = async () => ({ bytes: bytes.length, stream: Readable.from([bytes]) })

describe('what other nodes get', () => {
  it('is the image, with its length', async () => {
    const { get } = await serverOf(here)
    const reply = await get(codeImagePath(digest))
    expect([reply.status, reply.headers.get('content-length')]).toEqual([200, '1000'])
    expect(Buffer.from(await reply.arrayBuffer()).equals(bytes)).toBe(true)
  })

  it('is nothing that is no digest, and 404 for what is not here, which is noticed', async () => {
    const asked: string[] = []
    const { get, missing } = await serverOf(async (each) => void asked.push(each))
    for (const name of ['..%2f..%2fetc%2fpasswd', digest.toUpperCase(), digest.slice(1), `${digest}.erofs`, '.', '%00'])
      expect((await get(`/v1/code-images/${name}`)).status).toBeGreaterThanOrEqual(400)
    expect(asked).toEqual([])
    expect([(await get(codeImagePath(digest))).status, missing]).toEqual([404, [digest]])
  })

  it('is for them alone, and nothing else is there', async () => {
    const { get } = await serverOf(here)
    for (const as of [token('g'), '', 'undefined', token('p').slice(1)])
      expect((await get(codeImagePath(digest), as)).status).toBe(403)
    expect((await get('/v1/instances')).status).toBe(404)
    expect(await (await get('/metrics')).text()).not.toContain('forkyard')
  })

  it('is 429 while as many are sent as may be, and the image again when one is over', async () => {
    const open: PassThrough[] = []
    const slow = async () => {
      const stream = new PassThrough()
      stream.write('x')
      open.push(stream)
      return { bytes: 2, stream }
    }
    const { get } = await serverOf(slow)
    const first = await Promise.all(Array.from({ length: 8 }, () => get(codeImagePath(digest))))
    expect(first.map(({ status }) => status)).toEqual(Array(8).fill(200))
    expect((await get(codeImagePath(digest))).status).toBe(429)
    open[0]?.end('y')
    await first[0]?.text()
    await expect.poll(async () => (await get(codeImagePath(digest))).status).toBe(200)
    for (const stream of open) stream.destroy()
  })
})
