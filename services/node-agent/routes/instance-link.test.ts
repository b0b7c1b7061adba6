import { beforeEach, describe, expect, it } from 'vitest'
import type { StartInstance } from '../../contracts/node.ts'
import { TermFence } from '../node-scheduler/term-fence.ts'
import { instanceSession } from './instance-link.ts'

const command: StartInstance = {
  instanceId: 'x',
  revision: { tenant: 't', name: 'f', version: '1', revisionId: 'r' },
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy: { concurrency: 1, reuse: true },
  startWish: 'auto',
}

let done: string[]
const node = {
  start: ({ instanceId }: StartInstance) => void done.push(`start ${instanceId}`),
  end: (instanceId: string) => void done.push(`end ${instanceId}`),
}
const never = () => false

beforeEach(() => {
  done = []
})

describe('commands of schedulers', () => {
  it('are carried out under the latest term, and refused under an earlier one', () => {
    const { handle } = instanceSession(node, new TermFence())
    handle(['start', 1, 5, command], never)
    expect(() => handle(['start', 2, 4, { ...command, instanceId: 'stale' }], never)).toThrow('another scheduler leads')
    expect(() => handle(['end', 3, 4, 'x', 'keep-alive'], never)).toThrow('another scheduler leads')
    handle(['end', 4, 5, 'x', 'keep-alive'], never)
    expect(done).toEqual(['start x', 'end x'])
  })

  it('of a replaced scheduler would be carried out without the fence', () => {
    const { handle } = instanceSession(node, { check: () => undefined })
    handle(['start', 1, 5, command], never)
    handle(['start', 2, 4, { ...command, instanceId: 'stale' }], never)
    expect(done).toEqual(['start x', 'start stale'])
  })

  it.each([
    ['another kind', ['other', 1, 5]],
    ['no term', ['start', 1, command]],
    ['an unknown field', ['start', 1, 5, { ...command, extra: 1 }]],
  ])('with %s are refused', (_what, message) => {
    const { handle } = instanceSession(node, new TermFence())
    expect(() => handle(message, never)).toThrow('does not fit its schema')
    expect(done).toEqual([])
  })
})
