import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { JetStreamError } from '@nats-io/jetstream'
import { errors } from '@nats-io/transport-node'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PlatformError } from '../../contracts/errors.ts'
import { NodeCordon } from './node-cordon.ts'
import { isNodesFault } from './node-fault.ts'

let dir: string
let changes: number
const open = (): NodeCordon => new NodeCordon(join(dir, 'cordon.json'), pino({ level: 'silent' }), () => changes++)
const cordon = { by: 'operator', reason: 'a new disk', since: 5 } as const

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fy-'))
  changes = 0
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('a cordon', () => {
  it('outlives the agent until it is taken back', () => {
    expect(open().current).toBeUndefined()
    open().set(cordon)
    expect(open().current).toEqual(cordon)
    open().set(undefined)
    open().set(undefined)
    expect(open().current).toBeUndefined()
    expect(changes).toBe(3)
  })

  it('that cannot be read holds', () => {
    writeFileSync(join(dir, 'cordon.json'), '{"by":')
    expect(open().current).toMatchObject({ by: 'platform', reason: 'its cordon cannot be read' })
  })

  it('that cannot be written does not', () => {
    const closed = new NodeCordon(join(dir, 'none', 'cordon.json'), pino({ level: 'silent' }), () => changes++)
    expect(() => closed.set(cordon)).toThrow('ENOENT')
    expect(closed.current).toBeUndefined()
  })
})

it.each([
  ['gVisor does not start', new Error('runsc: exit status 128'), true],
  ['the sandbox died early', new PlatformError('INSTANCE_LOST', 'the sandbox ended'), true],
  ['the runtime is damaged, which is told apart', new PlatformError('NO_CAPACITY', 'its image is damaged'), false],
  ['the code is damaged in the store', new PlatformError('CODE_CORRUPT', 'other digest'), false],
  ['the store does not answer', new errors.TimeoutError(), false],
  ['the store refuses', new JetStreamError('no'), false],
])('a start that failed because %s: the node’s fault is %s', (_what, error, expected) => {
  expect(isNodesFault(error)).toBe(expected)
})
