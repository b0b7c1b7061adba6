import { createHash, randomBytes } from 'node:crypto'
import { PassThrough, Readable } from 'node:stream'
import fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createMetrics, requireBearer } from '../../chassis/http-server.ts'
import { codeImagePath } from '../../contracts/code-images.ts'
import { protocolHeaders } from '../../contracts/protocol.ts'
import { createCodeImageMetrics } from '../code-images/code-image-metrics.ts'
import type { ImageFile } from '../code-images/code-images.ts'
import { codeImageRoute, registerCodeImageRoute } from './code-images.ts'

const token = (of: string) => of.repeat(32)
const apps: FastifyInstance[] = []
afterEach(async () => void (await Promise.all(apps.splice(0).map((app) => app.close()))))

const bytes = randomBytes(1000)
const digest = createHash('sha256').update(bytes).digest('hex')

const appOf = async (read: (digest: string) => Promise<ImageFile | undefined>, peerToken?: string) => {
  const app = fastify({ forceCloseConnections: true })
  apps.push(app)
  const missing: string[] = []
  const metrics = createCodeImageMetrics(createMetrics())
  requireBearer(app, token('g'), { [codeImageRoute]: peerToken })
  registerCodeImageRoute(app, { images: { read }, onMissing: (each) => void missing.push(each), metrics })
  app.get('/v1/other', async () => 'other')
  app.setErrorHandler((error, _request, reply) => {
    const { entry, statusCode = 500 } = error as { entry?: { status: number }; statusCode?: number }
    return reply.code(entry?.status ?? statusCode).send({})
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const get = (path: string, as = token('p')) =>
    fetch(url + path, { headers: { ...protocolHeaders, authorization: `Bearer ${as}` } })
  return { get, missing }
}
const here = async () => ({ bytes: bytes.length, stream: Readable.from([bytes]) })

describe('what other nodes get', () => {
  it('is the image, with its length', async () => {
    const { get } = await appOf(here, token('p'))
    const reply = await get(codeImagePath(digest))
    expect([reply.status, reply.headers.get('content-length')]).toEqual([200, '1000'])
    expect(Buffer.from(await reply.arrayBuffer()).equals(bytes)).toBe(true)
  })

  it('is nothing that is no digest, and 404 for what is not here, which is noticed', async () => {
    const asked: string[] = []
    const { get, missing } = await appOf(async (each) => void asked.push(each), token('p'))
    for (const name of ['..%2f..%2fetc%2fpasswd', digest.toUpperCase(), digest.slice(1), `${digest}.erofs`, '.', '%00'])
      expect((await get(`/v1/code-images/${name}`)).status).toBeGreaterThanOrEqual(400)
    expect(asked).toEqual([])
    expect([(await get(codeImagePath(digest))).status, missing]).toEqual([404, [digest]])
  })

  it('is theirs alone, and nothing else is', async () => {
    const { get } = await appOf(here, token('p'))
    expect((await get(codeImagePath(digest), token('g'))).status).toBe(403)
    expect((await get('/v1/other')).status).toBe(403)
    expect((await get('/v1/other', token('g'))).status).toBe(200)
    // Nodes that share nothing have no token: nobody has it then.
    const closed = await appOf(here)
    for (const as of [token('p'), token('g'), '', 'undefined'])
      expect((await closed.get(codeImagePath(digest), as)).status).toBe(403)
  })

  it('is 429 while as many are sent as may be, and the image again when one is over', async () => {
    const open: PassThrough[] = []
    const slow = async () => {
      const stream = new PassThrough()
      stream.write('x')
      open.push(stream)
      return { bytes: 2, stream }
    }
    const { get } = await appOf(slow, token('p'))
    const first = await Promise.all(Array.from({ length: 8 }, () => get(codeImagePath(digest))))
    expect(first.map(({ status }) => status)).toEqual(Array(8).fill(200))
    expect((await get(codeImagePath(digest))).status).toBe(429)
    open[0]?.end('y')
    await first[0]?.text()
    await expect.poll(async () => (await get(codeImagePath(digest))).status).toBe(200)
    for (const stream of open) stream.destroy()
  })
})
