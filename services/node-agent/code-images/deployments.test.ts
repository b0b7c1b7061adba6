import type { KV, KvEntry } from '@nats-io/kv'
import { pino } from 'pino'
import { expect, it, vi } from 'vitest'
import { createSigner, createVerifier, publicKeyOf } from '../../chassis/signing.ts'
import { followDeployments } from './deployments.ts'

const seed = 'a'.repeat(64)
const signer = createSigner([{ id: 'sign-1', seed }])
const verifier = createVerifier([{ id: 'sign-1', key: publicKeyOf(seed) }])

const latest = {
  tenant: 't',
  name: 'f',
  version: '$LATEST',
  revisionId: 'r',
  runtime: 'nodejs24.x' as const,
  handler: 'index.handler',
  description: '',
  role: '',
  memoryMiB: 128,
  timeoutMs: 1000,
  ephemeralStorageMiB: 512,
  environment: {},
  policy: { concurrency: 1, reuse: true },
  codeSha256: '',
  codeSize: 1,
  zipDigest: 'z',
  imageDigest: 'd',
  lastModified: '',
}
const record = {
  tenant: 't',
  name: 'f',
  latest,
  versions: [],
  nextVersion: 1,
  aliases: {},
  urls: {},
  tags: {},
  eventInvoke: { maximumRetryAttempts: 2, maximumEventAgeMs: 60_000 },
}

const entry = (key: string, value: unknown, operation = 'PUT') =>
  ({ key, operation, json: () => value }) as unknown as KvEntry

it('what gateways write is a deployment, and nothing else; a watch that breaks is made again', async () => {
  const entries = [
    [
      entry('t.f', { ...record }),
      entry('t.g', signer.sign('t.f', record)),
      entry('t.f', { nonsense: true }),
      entry('t.f', signer.sign('t.f', record), 'DEL'),
    ],
    [entry('t.f', signer.sign('t.f', record))],
  ]
  const asked: unknown[] = []
  const kv = {
    watch: async (options: unknown) => {
      asked.push(options)
      const batch = entries.shift() ?? []
      return Object.assign(
        (async function* () {
          yield* batch
        })(),
        { stop: () => undefined },
      )
    },
  } as unknown as Pick<KV, 'watch'>
  const told: string[] = []
  const onDeployment = ({ imageDigest }: { imageDigest: string }) => void told.push(imageDigest)
  const end = followDeployments({ kv, verifier, logger: pino({ level: 'silent' }), onDeployment })
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1), { timeout: 10_000 })
  await vi.waitFor(() => expect(told).toEqual(['d']))
  end()
  expect(asked[0]).toEqual({ key: '*.*', include: 'updates' })
})
