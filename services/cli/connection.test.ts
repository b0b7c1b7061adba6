import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { exportLines } from './commands/env.ts'
import { findConnection, findLocalFirst } from './connection.ts'

const stack = { endpoint: 'http://127.0.0.1:9000', region: 'us-east-1', accessKeyId: 'AK', secretAccessKey: 'SK' }
const variables = {
  AWS_ENDPOINT_URL: 'http://other',
  AWS_ACCESS_KEY_ID: 'A',
  AWS_SECRET_ACCESS_KEY: 'S',
  AWS_REGION: 'r',
}

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'forkyard-cli-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const writeClientFile = (content: string) => writeFileSync(join(directory, 'client.json'), content)

describe('findConnection', () => {
  it('takes the environment before the local stack', () => {
    writeClientFile(JSON.stringify(stack))
    expect(findConnection({ ...variables, FORKYARD_STATE_DIR: directory }).endpoint).toBe('http://other')
  })

  it('takes the local stack when the environment names no endpoint', () => {
    writeClientFile(JSON.stringify(stack))
    expect(findConnection({ FORKYARD_STATE_DIR: directory, AWS_ACCESS_KEY_ID: 'unrelated' })).toEqual(stack)
  })

  it('says how to start a stack when there is none', () => {
    expect(() => findConnection({ FORKYARD_STATE_DIR: directory })).toThrow('./scripts/up')
  })

  it('says that keys are missing rather than use other ones', () => {
    writeClientFile(JSON.stringify(stack))
    const env = { AWS_ENDPOINT_URL: 'http://other', FORKYARD_STATE_DIR: directory }
    expect(() => findConnection(env)).toThrow('AWS_ACCESS_KEY_ID')
  })

  it('does not trust a damaged file', () => {
    writeClientFile('{"endpoint": 1}')
    expect(() => findConnection({ FORKYARD_STATE_DIR: directory })).toThrow('damaged')
  })
})

describe('findLocalFirst', () => {
  it('prefers the stack that runs now to variables of an earlier one', () => {
    writeClientFile(JSON.stringify(stack))
    expect(findLocalFirst({ ...variables, FORKYARD_STATE_DIR: directory })).toEqual(stack)
  })
})

describe('exportLines', () => {
  it('quotes for the shell that evaluates them', () => {
    expect(exportLines({ A: "x'; rm -rf $HOME" })).toBe(`export A='x'\\''; rm -rf $HOME'`)
  })
})
