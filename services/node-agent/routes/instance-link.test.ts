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

/** What a scheduler says, and nobody hangs up. */
const saying = (fence: Pick<TermFence, 'check'>) => {
  const session = instanceSession(node, fence, { set: (cordon) => void done.push(`cordon ${cordon?.reason}`) })
  return (...message: unknown[]): void => void session.handle(message, () => false)
}

beforeEach(() => {
  done = []
})

describe('commands of schedulers', () => {
  it('are carried out under the latest term, and refused under an earlier one', () => {
    const say = saying(new TermFence())
    say('start', 1, 5, command)
    expect(() => say('start', 2, 4, { ...command, instanceId: 'stale' })).toThrow('another scheduler leads')
    expect(() => say('end', 3, 4, 'x', 'keep-alive')).toThrow('another scheduler leads')
    say('end', 4, 5, 'x', 'keep-alive')
    expect(done).toEqual(['start x', 'end x'])
  })

  it('cordon the node and end that under no term, for operators', () => {
    const say = saying(new TermFence())
    say('start', 1, 5, command)
    say('cordon', 2, { by: 'operator', reason: 'a new disk', since: 1 })
    say('cordon', 3, null)
    expect(done).toEqual(['start x', 'cordon a new disk', 'cordon undefined'])
  })

  it('of a replaced scheduler would be carried out without the fence', () => {
    const say = saying({ check: () => undefined })
    say('start', 1, 5, command)
    say('start', 2, 4, { ...command, instanceId: 'stale' })
    expect(done).toEqual(['start x', 'start stale'])
  })

  it.each([
    ['another kind', ['other', 1, 5]],
    ['no term', ['start', 1, command]],
    ['an unknown field', ['start', 1, 5, { ...command, extra: 1 }]],
  ])('with %s are refused', (_what, message) => {
    const say = saying(new TermFence())
    expect(() => say(...message)).toThrow('does not fit its schema')
    expect(done).toEqual([])
  })
})
