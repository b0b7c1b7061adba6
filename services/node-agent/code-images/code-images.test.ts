import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pino } from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createMetrics } from '../../chassis/http-server.ts'
import { imageObject } from '../../contracts/subjects.ts'
import { FileDigests } from '../file-digests.ts'
import { createCodeImageMetrics } from './code-image-metrics.ts'
import { CodeImages, type CodeImagesDeps } from './code-images.ts'
import { PeerCopies } from './peer-copies.ts'
import { Peers } from './peers.ts'

const token = 't'.repeat(32)
const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
})

const image = (size = 300_000) => {
  const bytes = randomBytes(size)
  return { bytes, digest: createHash('sha256').update(bytes).digest('hex') }
}
type Image = ReturnType<typeof image>

/** The object store, as its clients see it. */
const storeOf = (...images: readonly Image[]) => {
  const read: string[] = []
  const find = (name: string) => images.find(({ digest }) => imageObject(digest) === name)
  const store = {
    info: async (name: string) => {
      const found = find(name)
      return found ? { size: found.bytes.length, deleted: false } : null
    },
    get: async (name: string) => {
      read.push(name)
      const found = find(name)
      return found ? { data: Readable.toWeb(Readable.from([found.bytes])), error: Promise.resolve(null) } : null
    },
  } as unknown as CodeImagesDeps['store']
  return { store, read }
}

const peerThat = async (answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> => {
  const server: Server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const nodeWith = (over: Partial<CodeImagesDeps> = {}, peerUrls: readonly string[] = []) => {
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-code-'))
  undo.push(() => rmSync(dir, { recursive: true, force: true }))
  const metrics = createCodeImageMetrics(createMetrics())
  const peers = new Peers('self')
  for (const [at, url] of peerUrls.entries()) peers.heard({ nodeId: `n${at}`, url, leaving: false })
  const failures: string[] = []
  const onFailure = (failure: string) => void failures.push(failure)
  const copies = new PeerCopies({ peers, token, ca: undefined, logger: pino({ level: 'silent' }), onFailure })
  undo.push(() => copies.close())
  const { store } = storeOf()
  const deps = { dir, store, digests: new FileDigests(), budgetBytes: 1e9, peers: copies, metrics, ...over }
  const images = new CodeImages(deps)
  const uses = async () =>
    Object.fromEntries((await metrics.uses.get()).values.map(({ labels, value }) => [labels.source, value]))
  return { dir, images, failures, uses, deps }
}

const whole =
  ({ bytes }: Image) =>
  (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
  }

const minutesAgo = (minutes: number) => Date.now() / 1000 - minutes * 60
const revision = (name: string) => ({ tenant: 't', name, version: '1', revisionId: 'r' })

describe('a code image', () => {
  it('that is here is not fetched again, nor while it is on its way', async () => {
    const one = image()
    const { store, read } = storeOf(one)
    const { images, uses, dir } = nodeWith({ store })
    const paths = await Promise.all([images.path(one.digest), images.path(one.digest), images.path(one.digest)])
    expect(new Set(paths).size).toBe(1)
    expect(await images.path(one.digest)).toBe(paths[0])
    expect(readFileSync(paths[0]).equals(one.bytes)).toBe(true)
    expect(read).toHaveLength(1)
    expect(await uses()).toEqual({ store: 1, here: 1 })
    // Nor by the next run of the agent.
    const again = nodeWith({ store, dir })
    await again.images.path(one.digest)
    expect(read).toHaveLength(1)
  })

  it('is looked at by everybody: a look of before it was flipped helps nobody who comes later', async () => {
    const one = image()
    const { store, read } = storeOf(one)
    const first = Promise.withResolvers<string>()
    const of = vi.fn(async () => 'another').mockImplementationOnce(() => first.promise)
    const { images, dir } = nodeWith({ store, digests: { of } as unknown as FileDigests })
    const earlier = images.path(one.digest)
    writeFileSync(join(dir, `${one.digest}.erofs`), one.bytes)
    const later = images.path(one.digest)
    first.resolve(one.digest)
    await Promise.all([earlier, later])
    expect(read).toHaveLength(1)
  })

  it('that was damaged on the disk is fetched again', async () => {
    const one = image()
    const { store, read } = storeOf(one)
    const { images } = nodeWith({ store })
    const path = await images.path(one.digest)
    writeFileSync(path, one.bytes.subarray(1))
    expect(readFileSync(await images.path(one.digest)).equals(one.bytes)).toBe(true)
    expect(read).toHaveLength(2)
  })

  it('comes from a node that has it, which is shown the token of nodes, and the store is not asked', async () => {
    const one = image()
    const { store, read } = storeOf(one)
    const asked: IncomingMessage[] = []
    const has = await peerThat((request, response) => {
      asked.push(request)
      whole(one)(request, response)
    })
    const hasNot = await peerThat((_request, response) => void response.writeHead(404).end('{}'))
    const { images, uses, failures } = nodeWith({ store }, [hasNot, has])
    expect(readFileSync(await images.path(one.digest)).equals(one.bytes)).toBe(true)
    expect([read, failures, await uses()]).toEqual([[], [], { peer: 1 }])
    expect(asked.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      [`/v1/code-images/${one.digest}`, `Bearer ${token}`],
    ])
  })

  const one = image()
  const flipped = Buffer.from(one.bytes)
  flipped[1000] = (flipped[1000] ?? 0) ^ 1
  it.each<[string, string, (request: IncomingMessage, response: ServerResponse) => void]>([
    ['sends flipped bytes', 'wrong', whole({ ...one, bytes: flipped })],
    ['sends too little', 'wrong', whole({ ...one, bytes: one.bytes.subarray(0, 100) })],
    [
      'dies in the middle',
      'broken',
      (_request, response) => {
        response.writeHead(200, { 'content-length': one.bytes.length })
        response.write(one.bytes.subarray(0, 1000), () => response.destroy())
      },
    ],
    [
      'stalls in the middle',
      'silent',
      (_request, response) => {
        response.writeHead(200, { 'content-length': one.bytes.length })
        response.write(one.bytes.subarray(0, 1000))
      },
    ],
    ['does not answer', 'silent', () => undefined],
    [
      'does not say how much it sends',
      'broken',
      (_request, response) => void response.write(one.bytes, () => response.end()),
    ],
    ['fails', 'broken', (_request, response) => void response.writeHead(500).end('{}')],
    [
      'would never end',
      'broken',
      (_request, response) => void response.writeHead(200, { 'content-length': 2 ** 40 }).write('x'),
    ],
  ])('a node that %s does no harm: the store has it, and that node is not asked again', async (_what, how, answer) => {
    let asked = 0
    const peer = await peerThat((request, response) => {
      asked++
      answer(request, response)
    })
    const { store, read } = storeOf(one)
    const { images, uses, failures, dir } = nodeWith({ store }, [peer])
    const path = await images.path(one.digest)
    expect(readFileSync(path).equals(one.bytes)).toBe(true)
    expect([read.length, failures, await uses()]).toEqual([1, [how], { store: 1 }])
    expect(readdirSync(dir)).toEqual([`${one.digest}.erofs`])
    rmSync(path)
    await images.path(one.digest)
    expect(asked).toBe(1)
  })

  it('a node that is not there is passed over; one that has no hand free is asked again the next time', async () => {
    const gone = 'http://127.0.0.1:1'
    let asked = 0
    const busy = await peerThat((_request, response) => {
      asked++
      response.writeHead(429).end('{}')
    })
    const { store } = storeOf(one)
    const { images, failures } = nodeWith({ store }, [gone, busy])
    rmSync(await images.path(one.digest))
    await images.path(one.digest)
    expect([failures, asked]).toEqual([['broken'], 2])
  })

  it('that nobody has is an error of its own, and what the store has wrong too', async () => {
    const wrong = { ...image(), bytes: Buffer.from('else') }
    const { store } = storeOf(wrong)
    const { images, dir } = nodeWith({ store })
    for (const { digest } of [wrong, image()])
      await expect(images.path(digest)).rejects.toMatchObject({ code: 'CODE_CORRUPT' })
    expect(readdirSync(dir)).toEqual([])
  })
})

describe('the disk', () => {
  it('beyond the budget what was used longest ago goes, and nothing that was used lately', async () => {
    const all = [image(1000), image(1000), image(1000), image(1000)] as const
    const { store } = storeOf(...all)
    const first = nodeWith({ store })
    for (const { digest } of all.slice(0, 3)) await first.images.path(digest)
    for (const [at, minutes] of [30, 20, 5].entries())
      utimesSync(join(first.dir, `${all[at]?.digest}.erofs`), minutesAgo(minutes), minutesAgo(minutes))
    const { images } = nodeWith({ store, dir: first.dir, budgetBytes: 3000 })
    await images.path(all[3].digest)
    const there = () => new Set(readdirSync(first.dir).map((name) => name.split('.')[0]))
    expect(there()).toEqual(new Set(all.slice(1).map(({ digest }) => digest)))
    // A request's own image is fetched all the same.
    const small = nodeWith({ store, dir: first.dir, budgetBytes: 1 })
    await small.images.path(all[0].digest)
    expect(there()).toEqual(new Set([all[0], all[2], all[3]].map(({ digest }) => digest)))
  })

  it('what nobody asked for yet is fetched within the budget alone', async () => {
    const [a, b, none] = [image(1000), image(1000), image(10)]
    const { store, read } = storeOf(a, b)
    const { images } = nodeWith({ store, budgetBytes: 1500 })
    expect(await images.prefetch(a.digest)).toBe('fetched')
    expect(await images.prefetch(a.digest)).toBe('here')
    expect(await images.prefetch(b.digest)).toBe('no-room')
    expect(await images.prefetch(none.digest)).toBe('missing')
    expect(read).toEqual([imageObject(a.digest)])
    // Its first start need not hash it.
    expect(images.known(a.digest)).toBeDefined()
  })

  it('knows for which revisions it has the code', async () => {
    const [a, b] = [image(), image()]
    const { store } = storeOf(a, b)
    const { images } = nodeWith({ store })
    await images.path(a.digest, revision('f'))
    await images.prefetch(a.digest, revision('g'))
    await images.path(image().digest, revision('none')).catch(() => undefined)
    expect(images.revisions()).toEqual(['t/f/1/r', 't/g/1/r'])
  })
})
