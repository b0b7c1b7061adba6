import { describe, expect, it } from 'vitest'
import { forkExit } from './fork-body.ts'
import { parseHello, parseMessage } from './fork-channel.ts'
import { forkProcesses, seedLimits } from './limits.ts'
import { renewalReason } from './seed.ts'

const id = '0123456789abcdef'

describe('what a seed says', () => {
  it('is one of four messages', () => {
    expect(parseMessage(`forked ${id} 12`)).toEqual({ what: 'forked', id, pid: 12 })
    expect(parseMessage(`failed ${id} 11`)).toEqual({ what: 'failed', id, errno: 11 })
    expect(parseMessage(`used ${id} 31`)).toEqual({ what: 'used', id, memoryMiB: 31 })
    expect(parseMessage(`ended ${id} 9 0`)).toEqual({ what: 'ended', id, waitStatus: 9, cause: 'within-limits' })
    expect(parseMessage(`ended ${id} 9 1`)).toEqual({ what: 'ended', id, waitStatus: 9, cause: 'memory' })
    expect(parseMessage(`ended ${id} 9 2`)).toEqual({ what: 'ended', id, waitStatus: 9, cause: 'processes' })
  })

  it.each([
    '',
    'forked',
    `forked ${id} 12 1`,
    `ended ${id} 9`,
    `ended ${id} 9 3`,
    `used ${id} 1 1`,
    `forked ../x 1`,
    `gone ${id} 1`,
  ])('%j is none: it comes out of a sandbox', (line) => expect(parseMessage(line)).toBe(undefined))

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

describe('the end of a fork', () => {
  const limits = { memoryMiB: 128, processes: 200, tmpMiB: 512 }
  it('comes with what its seed saw of it', () => {
    expect(forkExit({ waitStatus: 3 << 8, cause: 'within-limits' }, limits, 40)).toEqual({
      reason: 'exit',
      detail: 'exit status 3',
    })
    expect(forkExit({ waitStatus: 9, cause: 'memory' }, limits, 131)).toEqual({
      reason: 'out-of-memory',
      detail: 'memory limit 128 MiB, peak 131 MiB, of this fork alone',
    })
    expect(forkExit({ waitStatus: 9, cause: 'processes' }, limits, 40)).toEqual({
      reason: 'exit',
      detail: 'signal 9: more than 200 processes',
    })
  })
})

it('a fork may have a process a MiB, in bounds', () => {
  expect([128, 512, 4096].map((memoryMiB) => forkProcesses(memoryMiB, 1024))).toEqual([128, 512, 1024])
  expect(forkProcesses(128, 50)).toBe(50)
})

it('the sandbox of a seed has memory for the seed and each fork', () => {
  expect(seedLimits(128, 96, 100, 0)).toEqual({ memoryMiB: 224, cpus: 1, pids: 100 })
  expect(seedLimits(128, 96, 100, 3)).toEqual({ memoryMiB: 608, cpus: 3, pids: 400 })
})
