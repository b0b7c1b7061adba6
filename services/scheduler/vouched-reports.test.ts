import { describe, expect, it } from 'vitest'
import type { JoinedNode } from '../contracts/joining.ts'
import { nobodyJoined } from './testing/nobody-joined.ts'
import { objection } from './vouched-reports.ts'

const record: JoinedNode = {
  nodeId: 'y_a',
  url: 'https://192.0.2.1:7100',
  pool: 'edge',
  labels: {},
  certificates: [],
  joinedAt: '',
  by: '',
  tokenId: '0'.repeat(16),
}
const joined = {
  get: (nodeId: string) => (nodeId === record.nodeId ? record : undefined),
  byUrl: (url: string) => (url === record.url ? record : undefined),
}
const { nodeId, url, pool } = record

describe('a report counts', () => {
  it.each([
    ['of a node of the stack', 'y-1', { nodeId: 'y-1', url: 'https://192.0.2.9:7100', pool: 'any' }],
    ['of a node that joined, as it joined', nodeId, { nodeId, url, pool }],
    ['of the same, when it says neither', nodeId, { nodeId }],
  ])('%s', (_what, toldAs, told) => {
    expect(objection(toldAs, told, joined)).toBeUndefined()
  })
})

describe('a report does not count', () => {
  it.each([
    ['in another node’s name', nodeId, { nodeId: 'y-1' }, 'told as'],
    ['of nobody', undefined, { nodeId: 'y-1' }, 'told as'],
    ['of one that was removed', 'y_b', { nodeId: 'y_b' }, 'not joined'],
    ['with another URL', nodeId, { nodeId, url: 'https://192.0.2.9:7100' }, 'another URL'],
    ['with another pool', nodeId, { nodeId, pool: 'default' }, 'another pool'],
    ['of a node of the stack with the URL of one that joined', 'y-1', { nodeId: 'y-1', url }, 'is that of a node'],
  ])('%s', (_what, toldAs, told, why) => {
    expect(objection(toldAs, told, joined)).toContain(why)
  })

  it('of a joined id, where nobody can join', () => {
    expect(objection(nodeId, { nodeId, url, pool }, nobodyJoined)).toContain('not joined')
  })
})
