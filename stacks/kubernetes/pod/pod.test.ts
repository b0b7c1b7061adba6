import { describe, expect, it } from 'vitest'
import { NodeAgentConfig } from '../../../services/node-agent/config.ts'
import { isTakenAway } from './keep-node.ts'
import { nodeIdOf } from './node-id.ts'

describe('the id of a node', () => {
  it('is the name that the cluster gave it, where that will do', () => {
    expect(nodeIdOf('blue', 'worker-1')).toBe('blue-worker-1')
  })

  it('is always one that the agent takes, and another for each node', () => {
    const names = [
      'ip-10-0-0-1.eu.compute.internal',
      'ip-10-0-0-1-eu-compute-internal',
      `${'a'.repeat(90)}1`,
      `${'a'.repeat(90)}2`,
    ]
    const ids = names.map((name) => nodeIdOf('blue', name))
    const { pattern } = NodeAgentConfig.properties.nodeId as { pattern?: string }
    for (const id of ids) expect(id).toMatch(new RegExp(pattern ?? 'none'))
    expect(new Set(ids).size).toBe(names.length)
  })
})

describe('what a node keeps goes', () => {
  it.each([
    ['when the agents are being deleted', { status: 200, body: { metadata: { deletionTimestamp: 'now' } } }, true],
    ['when they are deleted', { status: 404, body: {} }, true],
    ['not when only a pod is', { status: 200, body: { metadata: {} } }, false],
    ['not when the answer is none', { status: 403, body: {} }, false],
    ['not when the cluster has trouble', { status: 500, body: { metadata: { deletionTimestamp: 'now' } } }, false],
  ])('%s', (_when, answer, expected) => {
    expect(isTakenAway(answer)).toBe(expected)
  })
})
