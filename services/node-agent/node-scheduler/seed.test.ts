import { describe, expect, it } from 'vitest'
import { parseHello, parseMessage } from './fork-channel.ts'
import { seedLimits } from './limits.ts'
import { renewalReason } from './seed.ts'

const id = '0123456789abcdef'

describe('what a seed says', () => {
  it('is one of three messages', () => {
    expect(parseMessage(`forked ${id} 12`)).toEqual({ what: 'forked', id, pid: 12 })
    expect(parseMessage(`failed ${id} 11`)).toEqual({ what: 'failed', id, errno: 11 })
    expect(parseMessage(`ended ${id} 9 1`)).toEqual({ what: 'ended', id, waitStatus: 9, outOfMemory: true })
  })

  it.each(['', 'forked', `forked ${id} 12 1`, `ended ${id} 9`, `forked ../x 1`, `gone ${id} 1`])(
    '%j is none: it comes out of a sandbox',
    (line) => expect(parseMessage(line)).toBe(undefined),
  )

  it('begins with whether it can be forked', () => {
    expect(parseHello('{"ready":true}')).toEqual({ ready: true })
    expect(parseHello('{"unfit":"timer (Timeout)"}')).toEqual({ unfit: 'timer (Timeout)' })
    for (const line of ['', '{}', '{"ready":false}', '[]']) expect(parseHello(line)).toBe(undefined)
  })
})

describe('renewalReason', () => {
  const fresh = { forks: 1, children: 0, memoryMiB: 60, freshMiB: 60 }
  it('is the number of forks, or memory that no child explains', () => {
    expect(renewalReason(fresh, 128, 10)).toBe(undefined)
    expect(renewalReason({ ...fresh, forks: 10 }, 128, 10)).toBe('forks')
    expect(renewalReason({ ...fresh, memoryMiB: 200 }, 128, 10)).toBe('memory')
    expect(renewalReason({ ...fresh, memoryMiB: 200, children: 1 }, 128, 10)).toBe(undefined)
  })
})

it('the sandbox of a seed has memory for the seed and each fork', () => {
  expect(seedLimits(128, 96, 100, 0)).toEqual({ memoryMiB: 224, cpus: 1, pids: 100 })
  expect(seedLimits(128, 96, 100, 3)).toEqual({ memoryMiB: 608, cpus: 3, pids: 400 })
})
