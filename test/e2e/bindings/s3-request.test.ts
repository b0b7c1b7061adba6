import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStore, type TestStore } from '../../support/s3-store.ts'
import type { S3Binding } from '../../../services/contracts/bindings.ts'
import { createHttpForwarder, type HttpForwarder } from '../../../services/node-agent/bindings/http-proxy.ts'
import { Reach } from '../../../services/node-agent/bindings/reach.ts'

let store: TestStore
let proxy: Server
let forwarder: HttpForwarder
let binding: S3Binding
let endpoint: string

beforeAll(async () => {
  store = await startStore()
  const { endpoint: at, region, accessKeyId, secretAccessKey } = store
  binding = { type: 's3', endpoint: at, region, accessKeyId, secretAccessKey }
  forwarder = createHttpForwarder(new Reach(() => []))
  proxy = createServer(
    (request, response) => void forwarder.forward({ request, response, name: 'files', binding, used: () => undefined }),
  )
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  await client({ region: 'us-east-1' }).send(new CreateBucketCommand({ Bucket: 'things' }))
})
afterAll(async () => {
  proxy.closeAllConnections()
  proxy.close()
  await forwarder.close()
  await store.stop()
})

/** With keys that mean nothing to the store. */
const client = (more: S3ClientConfig = {}): S3Client =>
  new S3Client({
    endpoint,
    region: 'eu-west-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'of-the-function', secretAccessKey: 'nothing' },
    ...more,
  })
const Bucket = 'things'

describe('a function’s S3 client', () => {
  it.each(['plain', 'a b+c/ä&=?#%.txt', "it's (here)!*"])('puts, gets, lists and deletes %j', async (Key) => {
    const s3 = client()
    const bytes = randomBytes(100_000)
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: bytes, Metadata: { owner: 'me' } }))
    const got = await s3.send(new GetObjectCommand({ Bucket, Key }))
    expect(bytes.equals(Buffer.from((await got.Body?.transformToByteArray()) ?? []))).toBe(true)
    expect(got.Metadata).toEqual({ owner: 'me' })
    const listed = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: Key.slice(0, 3), MaxKeys: 5 }))
    expect(listed.Contents?.map((one) => one.Key)).toContain(Key)
    await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    await expect(s3.send(new GetObjectCommand({ Bucket, Key }))).rejects.toMatchObject({ name: 'NoSuchKey' })
  })

  it('sends a stream, whose checksum follows it, and parts of an upload', async () => {
    const s3 = client()
    const bytes = randomBytes(6 * 1024 * 1024)
    const stream = Readable.from([bytes.subarray(0, 65_536), bytes.subarray(65_536)])
    await s3.send(new PutObjectCommand({ Bucket, Key: 'stream', Body: stream, ContentLength: bytes.length }))
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
    const Parts = []
    for (const PartNumber of [1, 2]) {
      const part = { Bucket, Key: 'parts', UploadId, PartNumber, Body: bytes }
      Parts.push({ PartNumber, ETag: (await s3.send(new UploadPartCommand(part))).ETag })
    }
    await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId, MultipartUpload: { Parts } }))
    for (const [Key, length] of [
      ['stream', bytes.length],
      ['parts', 2 * bytes.length],
    ] as const) {
      const got = await s3.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=0-9' }))
      expect([got.ContentRange, await got.Body?.transformToString('hex')]).toEqual([
        `bytes 0-9/${length}`,
        bytes.toString('hex', 0, 10),
      ])
    }
  })

  it('sends chunks that are signed one by one, as older clients do', async () => {
    const bytes = randomBytes(70_000)
    const signature = 'a'.repeat(64)
    const frame = (part: Buffer) => [`${part.length.toString(16)};chunk-signature=${signature}\r\n`, part, '\r\n']
    const parts = [bytes.subarray(0, 65_536), bytes.subarray(65_536), Buffer.alloc(0)].flatMap(frame)
    const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
    const put = (decodedLength: number) =>
      fetch(`${endpoint}/things/chunks`, {
        method: 'PUT',
        body,
        headers: {
          authorization: `AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=${signature}`,
          'content-encoding': 'aws-chunked',
          'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
          'x-amz-decoded-content-length': String(decodedLength),
        },
      })
    expect((await put(bytes.length)).status).toBe(200)
    const got = await client().send(new GetObjectCommand({ Bucket, Key: 'chunks' }))
    expect(bytes.equals(Buffer.from((await got.Body?.transformToByteArray()) ?? []))).toBe(true)
    expect(got.ContentEncoding).toBeUndefined()
    expect((await put(bytes.length + 1)).status).toBe(400)
  })

  it('has its bytes checked by the store against the digest that it gave', async () => {
    const reply = await fetch(`${endpoint}/things/wrong`, {
      method: 'PUT',
      body: 'hello',
      headers: { 'x-amz-content-sha256': '0'.repeat(64) },
    })
    expect(reply.status).toBe(400)
  })

  it('reaches no bucket but the binding’s, where it names one', async () => {
    const all = binding
    try {
      binding = { ...all, bucket: 'others' }
      for (const path of ['/things/x', '/others/../things/x', '/others%2f..%2fthings/x', '/'])
        expect((await fetch(`${endpoint}${path}`)).status).toBe(403)
      binding = { ...all, bucket: 'things' }
      await client().send(new PutObjectCommand({ Bucket, Key: 'in', Body: 'x' }))
    } finally {
      binding = all
    }
  })

  it('that signs its own wrong way without the proxy is refused: the store does check', async () => {
    const direct = client({ endpoint: store.endpoint, region: 'us-east-1' })
    await expect(direct.send(new ListObjectsV2Command({ Bucket }))).rejects.toThrow(/No user exists/)
  })
})
