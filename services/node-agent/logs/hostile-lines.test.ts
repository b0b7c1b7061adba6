/**
 * What a function prints to look like another: each line is one record of its own, with nothing in it that a terminal obeys. The negative
 * control is a log that believes what it is given.
 */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { expect, describe, it } from 'vitest'
import type { VersionConfig } from '../../contracts/function.ts'
import { subjects } from '../../contracts/subjects.ts'
import { LogRecord } from '../../contracts/usage.ts'
import { Value } from 'typebox/value'
import { parseFunctionName } from '../../gateway/function-name.ts'
import { InstanceLog } from './instance-log.ts'
import type { LogPublisher } from './log-publisher.ts'

interface Published {
  readonly tenant: string
  readonly name: string
  readonly record: LogRecord
}

/** What is published of an instance that prints this while it works on one invocation. */
const publishedOf = async (printed: string): Promise<Published[]> => {
  const published: Published[] = []
  const publisher = {
    add: (tenant: string, name: string, record: LogRecord) => void published.push({ tenant, name, record }),
  } as unknown as LogPublisher
  const limits = { lineBytes: 65_536, bytesPerSecond: 1 << 24, onDropped: () => undefined }
  const log = new InstanceLog({ instanceId: 'i-1', publisher, ...limits })
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  log.attach(stdout, stderr)
  log.assign({ tenant: 'mine', name: 'f', version: '1' } as VersionConfig)
  log.begin('one')
  stdout.end(printed)
  await once(stdout, 'end')
  log.close()
  return published
}

const forged = JSON.stringify({ at: 1, tenant: 'other', name: 'g', instanceId: 'i-2', stream: 'platform', line: 'x' })
const platformLine = 'REPORT RequestId: two Duration: 1 ms'
const cases: [string, string, number][] = [
  ['a record of another tenant', forged, 1],
  ['a newline and a record of another tenant', `harmless\n${forged}`, 2],
  ['a carriage return that would write over the line', `harmless\r${forged}`, 1],
  ['ANSI sequences', '\u001b[2J\u001b[31mred\u001b]0;title\u0007\u009b1A', 1],
  ['a NUL and other controls', 'a\0b\u0008c\u007f', 1],
  ['what the platform says', platformLine, 1],
  ['a megabyte', 'x'.repeat(1_000_000), 1],
  ['a megabyte of carriage returns', '\r'.repeat(1_000_000), 1],
  ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x41]).toString('latin1'), 1],
]

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const control = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/

/** Reads a log as text, as if nobody but the platform wrote into it. */
const reportsIn = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('REPORT'))

/** As NATS has it. */
const matches = (filter: string, subject: string): boolean => {
  const [wanted, tokens] = [filter.split('.'), subject.split('.')]
  return wanted.every((token, at) => token === '>' || token === '*' || token === tokens[at])
}

describe('a function that prints', () => {
  it.each(cases)('%s has records of its own, whole and harmless', async (_what, printed, lines) => {
    const published = await publishedOf(`${printed}\n`)
    expect(published).toHaveLength(lines)
    for (const { tenant, name, record } of published) {
      expect([tenant, name]).toEqual(['mine', 'f'])
      expect(record).toMatchObject({ instanceId: 'i-1', stream: 'stdout', version: '1', invocationId: 'one' })
      expect(Value.Check(LogRecord, record)).toBe(true)
      expect(control.test(record.line)).toBe(false)
      // Escapes are four bytes for one.
      expect(Buffer.byteLength(record.line)).toBeLessThan(4 * 65_536 + 64)
      // One line wherever it is stored or shown.
      expect(JSON.stringify(record).split('\n')).toHaveLength(1)
    }
  })

  it('negative control: a log of plain text takes the forged line for one of the platform’s', () => {
    expect(reportsIn(`harmless\n${platformLine}`)).toEqual([platformLine])
    // And a terminal that gets the bytes gets the sequence.
    expect(control.test('\u001b[2J')).toBe(true)
  })
})

describe('a function’s name', () => {
  it.each(['*', '>', 'g.>', 'a b', 'g\r\nPUB x 1', 'g\n', '.', 'g.', '..', '\0'])(
    'that would be more than one word of a subject (%j) is none',
    (name) =>
      expect(() => parseFunctionName(name, 'r', 't')).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' })),
  )

  it('negative control: as part of a subject it would hear others', () => {
    expect(matches(subjects.logs('t', parseFunctionName('f', 'r', 't').name), subjects.logs('t', 'g'))).toBe(false)
    for (const name of ['*', '>']) expect(matches(subjects.logs('t', name), subjects.logs('t', 'g'))).toBe(true)
  })
})
