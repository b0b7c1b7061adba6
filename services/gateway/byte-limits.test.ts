/**
 * What callers may send, to the byte. The negative control is the same request at a gateway whose limit is one byte wider: so it is this limit
 * that refused it, and nothing else.
 */
import { once } from 'node:events'
import { request } from 'node:http'
import { CreateFunctionCommand, CreateFunctionUrlConfigCommand, InvokeCommand } from '@aws-sdk/client-lambda'
import { afterEach, describe, expect, it } from 'vitest'
import { permitUrl } from '../cli/url-permission.ts'
import type { GatewayConfig } from './config.ts'
import { answerWhole, httpAnswer } from './testing/fake-node.ts'
import { roleArn, startGateway, zipOf, type TestGateway } from './testing/gateway.ts'

const gateways: TestGateway[] = []
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.close()
})

const open = async (limits: Partial<GatewayConfig['limits']>): Promise<TestGateway> => {
  const gateway = await startGateway({ limits })
  gateways.push(gateway)
  gateway.node.answer = (call) => answerWhole(call, httpAnswer({ statusCode: 200 }, ''))
  return gateway
}

const makeFunction = async (gateway: TestGateway, ZipFile: Uint8Array): Promise<void> => {
  const input = { FunctionName: 'f', Role: roleArn, Runtime: 'nodejs24.x', Handler: 'index.handler' } as const
  await gateway.client().send(new CreateFunctionCommand({ ...input, Code: { ZipFile } }))
}

/** JSON of exactly so many bytes. */
const payloadOf = (length: number): Buffer => Buffer.from(JSON.stringify('x'.repeat(length - 2)))
/** A zip of exactly so many bytes, with a comment, whose length the last two bytes of an archive without one say. */
const zipOfLength = async (length: number): Promise<Buffer> => {
  const stored = await zipOf({ 'index.js': '' })
  const comment = Buffer.alloc(length - stored.length, ' ')
  stored.writeUInt16LE(comment.length, stored.length - 2)
  return Buffer.concat([stored, comment])
}

/** HTTP status of what comes back. */
type Send = (gateway: TestGateway, bytes: number) => Promise<number | undefined>

const statusOf = (sent: Promise<unknown>): Promise<number | undefined> =>
  sent.then(
    () => 200,
    (error: { $metadata?: { httpStatusCode?: number } }) => error.$metadata?.httpStatusCode,
  )

const invokeAs =
  (InvocationType: 'RequestResponse' | 'Event'): Send =>
  async (gateway, bytes) => {
    await makeFunction(gateway, await zipOf({ 'index.js': '' }))
    const command = new InvokeCommand({ FunctionName: 'f', InvocationType, Payload: payloadOf(bytes) })
    return statusOf(gateway.client().send(command))
  }

const callUrl =
  (headers: Readonly<Record<string, string>>): Send =>
  async (gateway, bytes) => {
    await makeFunction(gateway, await zipOf({ 'index.js': '' }))
    const client = gateway.client()
    await permitUrl(client, { FunctionName: 'f' }, 'NONE')
    const made = await client.send(new CreateFunctionUrlConfigCommand({ FunctionName: 'f', AuthType: 'NONE' }))
    const { host } = new URL(made.FunctionUrl ?? '')
    const sent = request({ host: '127.0.0.1', port: gateway.port, method: 'POST', headers: { host, ...headers } })
    sent.on('error', () => undefined).end(Buffer.alloc(bytes, 'x'))
    const [reply] = (await once(sent, 'response')) as [{ statusCode: number; resume(): void }]
    reply.resume()
    return reply.statusCode
  }

const deploy: Send = async (gateway, bytes) => statusOf(makeFunction(gateway, await zipOfLength(bytes)))

describe.each<[keyof GatewayConfig['limits'], string, Send, number]>([
  ['syncPayloadBytes', 'a payload', invokeAs('RequestResponse'), 413],
  ['asyncPayloadBytes', 'the payload of an event', invokeAs('Event'), 413],
  ['urlBodyBytes', 'a body at a URL', callUrl({}), 413],
  ['urlBodyBytes', 'a body at a URL in chunks', callUrl({ 'transfer-encoding': 'chunked' }), 413],
  ['zipBytes', 'a zip', deploy, 400],
])('%s: %s', (limit, _what, send, refusal) => {
  const taken = async (limitBytes: number, bytes: number): Promise<boolean> => {
    const status = await send(await open({ [limit]: limitBytes }), bytes)
    expect([200, 202, refusal]).toContain(status)
    return status !== refusal
  }

  it('is taken up to its limit, and refused a byte over it', async () => {
    expect([await taken(2000, 1999), await taken(2000, 2000), await taken(2000, 2001)]).toEqual([true, true, false])
  })

  it('negative control: that byte is taken where the limit is one wider', async () => {
    expect(await taken(2001, 2001)).toBe(true)
  })
})
