import { createHash } from 'node:crypto'
import { Sha256Node } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../contracts/errors.ts'
import { readClaim, verify, type ReceivedHead } from './sigv4.ts'

const key = {
  accessKeyId: 'AKIATESTTESTTEST0001',
  secretAccessKey: 'a-secret-of-this-test',
  tenant: 'one',
  principal: 'root',
  roles: ['admin'] as const,
}
const now = Date.UTC(2026, 0, 2, 3, 4, 5)
const options = { keys: new Map([[key.accessKeyId, key]]), region: 'eu-test-1', clockSkewMs: 300_000, now: () => now }
const hex = (body: string) => createHash('sha256').update(body).digest('hex')

interface Wish {
  method?: string
  path?: string
  query?: Record<string, string | string[]>
  headers?: Record<string, string>
  body?: string
  at?: number
  region?: string
  service?: string
  secretAccessKey?: string
  applyChecksum?: boolean
}

const signerFor = ({
  region = 'eu-test-1',
  service = 'lambda',
  secretAccessKey = key.secretAccessKey,
  applyChecksum = true,
}: Wish) =>
  new SignatureV4({
    service,
    region,
    credentials: { accessKeyId: key.accessKeyId, secretAccessKey },
    sha256: Sha256Node,
    applyChecksum,
  })

const encode = (text: string) =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
const target = (path: string, query: Readonly<Record<string, unknown>> = {}) => {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((each) => `${encode(name)}=${encode(String(each))}`),
  )
  return pairs.length > 0 ? `${path}?${pairs.join('&')}` : path
}
const flat = (headers: Readonly<Record<string, string>>) => Object.entries(headers).flat()

const request = ({ method = 'POST', path = '/2015-03-31/functions', query = {}, headers = {}, body = '{}' }: Wish) => ({
  method,
  path,
  query,
  body,
  protocol: 'http:',
  hostname: 'gw',
  headers: { host: 'gw:80', ...headers },
})

const signed = async (wish: Wish = {}): Promise<ReceivedHead> => {
  const { method, path, query, headers } = await signerFor(wish).sign(request(wish), {
    signingDate: new Date(wish.at ?? now),
  })
  return { method, target: target(path, query), rawHeaders: flat(headers) }
}

const presigned = async (wish: Wish = {}, expiresIn = 60): Promise<ReceivedHead> => {
  const plain = request({ method: 'GET', body: '', ...wish })
  const { method, path, query, headers } = await signerFor(wish).presign(plain, {
    signingDate: new Date(wish.at ?? now),
    expiresIn,
  })
  return { method, target: target(path, query), rawHeaders: flat(headers) }
}

const outcome = async (head: ReceivedHead, body = '{}'): Promise<string> => {
  try {
    return (await verify(readClaim(head, options), hex(body))).tenant
  } catch (error) {
    return (error as { code: ErrorCode }).code
  }
}

const withHeader = (
  { rawHeaders, ...head }: ReceivedHead,
  name: string,
  change: (value: string) => string | undefined,
) => {
  const left: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [each = '', value = ''] = rawHeaders.slice(i, i + 2)
    const next = each.toLowerCase() === name ? change(value) : value
    if (next !== undefined) left.push(each, next)
  }
  return { ...head, rawHeaders: left }
}

describe('a request that AWS’s signer signed', () => {
  it.each<[string, Wish]>([
    ['plainly', {}],
    ['without a body hash header, as botocore does', { applyChecksum: false }],
    [
      'with an ARN in the path',
      { path: `/2015-03-31/functions/${encode('arn:aws:lambda:eu-test-1:000000000000:function:f')}` },
    ],
    ['with a query that needs encoding', { query: { Marker: 'a+b/c=', x: ["~'()*!", 'é'] } }],
    ['with odd header values', { headers: { 'x-amz-client-context': '  a   b ', 'content-type': 'application/json' } }],
    ['five minutes ago', { at: now - 300_000 }],
  ])('is its caller’s: %s', async (_case, wish) => {
    expect(await outcome(await signed(wish))).toBe('one')
  })

  it('is its caller’s when it is presigned', async () => {
    expect(await outcome(await presigned({ query: { digest: 'ab' } }), '')).toBe('one')
  })
})

describe('a request is refused', () => {
  it.each<[string, () => Promise<ReceivedHead>, ErrorCode]>([
    ['not signed', async () => ({ ...(await signed()), rawHeaders: ['Host', 'gw:80'] }), 'MISSING_AUTHENTICATION'],
    [
      'of another scheme',
      async () => withHeader(await signed(), 'authorization', () => 'Bearer x'),
      'MISSING_AUTHENTICATION',
    ],
    [
      'with an unknown key',
      async () => withHeader(await signed(), 'authorization', (v) => v.replace('0001', '0009')),
      'UNKNOWN_ACCESS_KEY',
    ],
    ['with a wrong secret', async () => signed({ secretAccessKey: 'another-secret' }), 'BAD_SIGNATURE'],
    ['for another region', async () => signed({ region: 'eu-test-2' }), 'BAD_SIGNATURE'],
    ['for another service', async () => signed({ service: 's3' }), 'BAD_SIGNATURE'],
    ['too old', async () => signed({ at: now - 301_000 }), 'BAD_SIGNATURE'],
    ['from the future', async () => signed({ at: now + 301_000 }), 'BAD_SIGNATURE'],
    ['with another method', async () => ({ ...(await signed()), method: 'DELETE' }), 'BAD_SIGNATURE'],
    [
      'with another path',
      async () => ({ ...(await signed()), target: '/2015-03-31/functions/other' }),
      'BAD_SIGNATURE',
    ],
    ['with another query', async () => ({ ...(await signed()), target: '/2015-03-31/functions?a=b' }), 'BAD_SIGNATURE'],
    ['with a changed signed header', async () => withHeader(await signed(), 'host', () => 'other'), 'BAD_SIGNATURE'],
    ['without a signed header', async () => withHeader(await signed(), 'x-amz-date', () => undefined), 'BAD_SIGNATURE'],
    [
      'whose date is none',
      async () => withHeader(await signed(), 'x-amz-date', () => '20269999T000000Z'),
      'BAD_SIGNATURE',
    ],
    [
      'without a signature',
      async () => withHeader(await signed(), 'authorization', (v) => v.replace(/, Signature=.*/, '')),
      'BAD_SIGNATURE',
    ],
    [
      'without signing the host',
      async () => withHeader(await signed(), 'authorization', (v) => v.replace('host;', '')),
      'BAD_SIGNATURE',
    ],
    [
      'whose scope is not closed',
      async () => withHeader(await signed(), 'authorization', (v) => v.replace('aws4_request', 'aws4')),
      'BAD_SIGNATURE',
    ],
    ['of a query that is not UTF-8', async () => ({ ...(await signed()), target: '/x?a=%ff' }), 'INVALID_REQUEST'],
  ])('%s', async (_case, head, code) => {
    expect(await outcome(await head())).toBe(code)
  })

  it('with an x-amz header that was added on the way', async () => {
    const head = await signed()
    expect(await outcome({ ...head, rawHeaders: [...head.rawHeaders, 'X-Amz-Log-Type', 'Tail'] })).toBe('BAD_SIGNATURE')
  })

  it.each([true, false])('with another body (hash header: %s)', async (applyChecksum) => {
    expect(await outcome(await signed({ applyChecksum }), '{"a":1}')).toBe('BAD_SIGNATURE')
  })

  it('with an unsigned payload', async () => {
    expect(await outcome(await signed({ headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }))).toBe(
      'BAD_SIGNATURE',
    )
  })
})

describe('a presigned request is refused', () => {
  it.each<[string, () => Promise<ReceivedHead>]>([
    ['once it has expired', async () => presigned({ at: now - 61_000 })],
    [
      'with a longer life than it was signed for',
      async () => {
        const head = await presigned({ at: now - 61_000 })
        return { ...head, target: head.target.replace('X-Amz-Expires=60', 'X-Amz-Expires=600') }
      },
    ],
    [
      'with a field twice',
      async () => {
        const head = await presigned()
        return { ...head, target: `${head.target}&X-Amz-Expires=60` }
      },
    ],
    [
      'with another parameter',
      async () => {
        const head = await presigned()
        return { ...head, target: `${head.target}&digest=00` }
      },
    ],
    [
      'for over a week',
      async () => {
        const head = await presigned()
        return { ...head, target: head.target.replace('X-Amz-Expires=60', 'X-Amz-Expires=604801') }
      },
    ],
  ])('%s', async (_case, head) => {
    expect(await outcome(await head(), '')).toBe('BAD_SIGNATURE')
  })
})
