/** Somebody writes into the store, past the gateways: what was flipped, swapped or replayed there is refused, and nothing of it runs. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { jetstream } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { Objm } from '@nats-io/obj'
import type { NatsConnection } from '@nats-io/transport-node'
import { UpdateFunctionCodeCommand } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { FunctionRecord } from '../../../services/contracts/function.ts'
import { buckets, imageObject, registryKey } from '../../../services/contracts/subjects.ts'
import { createFunction, invoke, lambdaClient, uniqueName, zipOf } from '../../support/lambda.ts'
import { configOf, natsOf } from '../host.ts'
import { installation } from '../installation.ts'

const target = installation()
const client = lambdaClient(target)

let connection: NatsConnection
beforeAll(async () => void (connection = await natsOf(target)))
afterAll(() => connection.close())

const source = (word: string): string => `export const handler = async () => '${word}'`

let good: string
let evil: string
beforeEach(async () => {
  good = uniqueName('good')
  evil = uniqueName('evil')
  await createFunction(client, good, source(good))
  await createFunction(client, evil, source(evil))
})

const functions = () => new Kvm(jetstream(connection)).open(buckets.functions)
const recordOf = async (name: string): Promise<FunctionRecord> => {
  const entry = await (await functions()).get(registryKey('default', name))
  if (!entry) throw new Error(`${name} is not in the store`)
  return entry.json<FunctionRecord>()
}
const put = async (name: string, record: object): Promise<void> =>
  void (await (await functions()).put(registryKey('default', name), JSON.stringify(record)))

const patience = { timeout: 10_000, interval: 100 }
const refusal = expect.objectContaining({ name: 'InvalidZipFileException' }) as unknown

describe('an entry of the registry', () => {
  it.each<[string, (mine: FunctionRecord, other: FunctionRecord) => object]>([
    [
      'whose code is swapped for another function’s, digest and all',
      (mine, other) => ({ ...mine, latest: { ...mine.latest, imageDigest: other.latest.imageDigest } }),
    ],
    [
      'that is another function’s, renamed',
      (mine, other) => ({
        ...other,
        name: mine.name,
        latest: { ...other.latest, name: mine.name, revisionId: mine.latest.revisionId },
      }),
    ],
    ['without its signature', ({ signature: _signature, ...mine }) => mine],
  ])('%s is refused', async (_case, change) => {
    await put(good, change(await recordOf(good), await recordOf(evil)))
    // Until the gateway has heard of it, the node refuses: it reads the entry itself.
    await expect(invoke(client, good)).rejects.toThrow()
    await vi.waitFor(async () => await expect(invoke(client, good)).rejects.toEqual(refusal), patience)
  })

  it('of an earlier time is not run for a later one', async () => {
    const before = await recordOf(good)
    await client.send(
      new UpdateFunctionCodeCommand({ FunctionName: good, ZipFile: await zipOf({ 'index.mjs': source('new') }) }),
    )
    await put(good, before)
    // Signed, so it is an entry; gateways take it as a roll-back, whole: code, configuration and revision are of one time.
    await expect.poll(async () => (await invoke(client, good)).json, { timeout: 10_000 }).toBe(good)
  })

  it('negative control: as it was, it runs, even if it was written past the gateways', async () => {
    await put(good, await recordOf(good))
    expect((await invoke(client, good)).json).toBe(good)
  })
})

describe('the object of an image', () => {
  it('that is swapped for another one is refused', async () => {
    const code = await new Objm(jetstream(connection)).open(buckets.code)
    const [mine, other] = [(await recordOf(good)).latest.imageDigest, (await recordOf(evil)).latest.imageDigest]
    // The node fetches it when it is deployed; without that it reads the store for whoever is first.
    const fetched = join(configOf(target, 'node-agent').stateDir, 'code', `${mine}.erofs`)
    await vi.waitFor(() => rmSync(fetched), patience)
    const bytes = await code.getBlob(imageObject(other))
    await code.putBlob({ name: imageObject(mine) }, bytes ?? Buffer.alloc(0))
    await expect(invoke(client, good)).rejects.toMatchObject({ $metadata: { httpStatusCode: 502 } })
    // Negative control: the other one runs.
    expect((await invoke(client, evil)).json).toBe(evil)
  })
})
