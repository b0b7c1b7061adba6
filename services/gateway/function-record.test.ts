import { describe, expect, it } from 'vitest'
import { guardRevision, newRecord, sameContent, withTags } from './function-record.ts'
import { policyFromTags } from './policy-tags.ts'
import { chooseVersion } from './resolve.ts'

const settings = {
  runtime: 'nodejs24.x',
  handler: 'index.handler',
  description: '',
  role: 'r',
  memoryMiB: 128,
  timeoutMs: 3000,
  ephemeralStorageMiB: 512,
  environment: { A1: '1', B1: '2' },
} as const
const code = { codeSha256: 'c', codeSize: 1, zipDigest: 'z', imageDigest: 'i' }
const record = newRecord('one', 'f', 1, settings, code, {})

const tags = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, '']))

describe('policy tags', () => {
  it('set how instances are used, with defaults for the rest', () => {
    expect(policyFromTags({})).toEqual({ concurrency: 1, reuse: true })
    expect(
      policyFromTags({ 'forkyard:concurrency': '8', 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }),
    ).toEqual({ concurrency: 8, reuse: false, keepAliveMs: 0 })
    expect(policyFromTags({ 'forkyard:cache': 'strict-cold', 'forkyard:fork': 'true' })).toEqual({
      concurrency: 1,
      reuse: true,
      cache: 'strict-cold',
      fork: true,
    })
  })

  it.each([
    { 'forkyard:concurrency': '0' },
    { 'forkyard:concurrency': '1001' },
    { 'forkyard:concurrency': '1.5' },
    { 'forkyard:concurrency': ' 1' },
    { 'forkyard:reuse': 'yes' },
    { 'forkyard:keep-alive-ms': '3600001' },
    { 'forkyard:cache': 'cold' },
    { 'forkyard:fork': '' },
  ])('are refused by name: %j', (tags) => {
    expect(() => policyFromTags(tags as Record<string, string>)).toThrow(Object.keys(tags)[0])
  })

  it('make a new revision when they change the policy, and only then', () => {
    const tagged = withTags(record, { 'forkyard:concurrency': '2' })
    expect(tagged.latest.policy.concurrency).toBe(2)
    expect(tagged.latest.revisionId).not.toBe(record.latest.revisionId)
    expect(withTags(record, { team: 'x' }).latest).toBe(record.latest)
    const cold = withTags(record, { 'forkyard:cache': 'strict-cold' })
    expect(cold.latest.policy.cache).toBe('strict-cold')
    expect(withTags(cold, {}).latest.policy).toEqual(record.latest.policy)
    // Untagged again, it is back at the default.
    expect(withTags(tagged, {}).latest.policy.concurrency).toBe(1)
  })

  it('are at most fifty', () => {
    expect(Object.keys(withTags(record, tags(50)).tags)).toHaveLength(50)
    expect(() => withTags(record, tags(51))).toThrow('50 tags')
  })
})

describe('content of two versions', () => {
  it('is the same whatever their identity and the order of variables', () => {
    const other = {
      ...record.latest,
      version: '3',
      revisionId: 'x',
      description: 'y',
      environment: { B1: '2', A1: '1' },
    }
    expect(sameContent(record.latest, other)).toBe(true)
  })

  it.each([
    { memoryMiB: 256 },
    { imageDigest: 'j' },
    { environment: {} },
    { policy: { ...record.latest.policy, reuse: false } },
  ])('differs by %j', (change) => {
    expect(sameContent(record.latest, { ...record.latest, ...change })).toBe(false)
  })
})

describe('guardRevision', () => {
  it('lets the newest and the unnamed through', () => {
    guardRevision('a', undefined)
    guardRevision('a', 'a')
    expect(() => guardRevision('a', 'b')).toThrow(expect.objectContaining({ code: 'REVISION_MISMATCH' }))
  })
})

describe('an alias with weights', () => {
  const alias = { functionVersion: '1', weights: { '2': 0.25, '3': 0.25 } }
  it.each([
    [0, '2'],
    [0.2499, '2'],
    [0.25, '3'],
    [0.4999, '3'],
    [0.5, '1'],
    [0.9999, '1'],
  ])('sends %d to version %s', (random, version) => {
    expect(chooseVersion(alias, random)).toBe(version)
  })
})
