/** Functions as resources of a program of a user's own, with the real engine, against the scratch installation. */
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import {
  DeleteFunctionCommand,
  GetAliasCommand,
  GetFunctionConfigurationCommand,
  UpdateAliasCommand,
  UpdateFunctionConfigurationCommand,
} from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { invoke, lambdaClient } from '../support/lambda.ts'
import { preparePulumiProgram, type PulumiProgram } from '../support/pulumi-program.ts'
import { installation } from './installation.ts'

const client = lambdaClient(installation())
const token = 'canary-token-4711'

let program: PulumiProgram
const pulumi = (...args: string[]) => program.pulumi(...args)
const up = (...args: string[]) => program.up(...args)
const output = (name: string) => program.output(name)
const greet = async (name = 'greet') => (await invoke(client, `${name}:live`, { name: 'Ada' })).json
/** By address and Host: not every resolver knows names below `localhost`. */
const statusOf = async (url: string) => {
  const { host } = new URL(url)
  const request = get({ host: '127.0.0.1', port: new URL(url).port, headers: { host } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.resume()
  return response.statusCode
}
const aliased = async () =>
  (await client.send(new GetAliasCommand({ FunctionName: 'greet', Name: 'live' }))).FunctionVersion

beforeAll(async () => {
  program = await preparePulumiProgram('examples/pulumi-program', 'greetings', installation())
  await pulumi('config', 'set', 'apiToken', token)
})
afterAll(() => program.remove())

describe('a program with a function', () => {
  it('changes nothing with a preview', async () => {
    expect(await pulumi('preview')).toMatch(/forkyard:index:Function\s+greet\s+create/)
    await expect(client.send(new GetFunctionConfigurationCommand({ FunctionName: 'greet' }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    })
  })

  it('creates it with alias, URL and event queue', async () => {
    await up()
    expect(await greet()).toEqual({ message: 'Hello, Ada!' })
    expect(await output('version')).toBe('1')
    expect(await statusOf(await output('url'))).toBe(200)
  })

  it('keeps secrets out of the plain state', () => {
    expect(program.state()).toContain('"GREETING":"Hello"')
    expect(program.state()).not.toContain(token)
    expect(program.state()).not.toContain(installation().secretAccessKey)
  })

  it('is not changed by another up', async () => {
    expect(Object.keys(await up())).toEqual(['unchanged'])
    expect(await output('version')).toBe('1')
  })
})

describe('a change', () => {
  it('of the code is shown by a preview, file by file', async () => {
    const source = join(program.project, 'greet/index.ts')
    writeFileSync(source, readFileSync(source, 'utf8').replace('!`', '?`'))
    const diff = await pulumi('preview', '--diff')
    expect(diff).toMatch(/~ codeSha256\s*: "/)
    expect(diff).toMatch(/~ index\.mjs\s*: "[0-9a-f]{16}" => "[0-9a-f]{16}"/)
    expect(await greet()).toEqual({ message: 'Hello, Ada!' })
  })

  it('publishes a version in place and moves the alias', async () => {
    const url = await output('url')
    await up()
    expect(await greet()).toEqual({ message: 'Hello, Ada?' })
    expect([await output('version'), await aliased(), await output('url')]).toEqual(['2', '2', url])
  })

  it('that makes no sense is refused in the preview, by name', async () => {
    await pulumi('config', 'set', 'memory', '7')
    await expect(pulumi('preview')).rejects.toThrow(/property memory value .*must be >= 128/)
    await pulumi('config', 'rm', 'memory')
  })
})

describe('what somebody else changed', () => {
  it('is found by a refresh and put right by the next up', async () => {
    await client.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'greet', MemorySize: 512 }))
    await client.send(new UpdateAliasCommand({ FunctionName: 'greet', Name: 'live', FunctionVersion: '1' }))
    expect(await pulumi('refresh', '--preview-only', '--diff')).toMatch(/~ memory\s*: 256 => 512/)
    await pulumi('refresh', '--yes', '--skip-preview')
    await up()
    const now = await client.send(new GetFunctionConfigurationCommand({ FunctionName: 'greet', Qualifier: 'live' }))
    expect(now.MemorySize).toBe(256)
    expect(await greet()).toEqual({ message: 'Hello, Ada?' })
  })

  it('or deleted, is made again', async () => {
    await client.send(new DeleteFunctionCommand({ FunctionName: 'greet' }))
    expect(await pulumi('refresh', '--yes', '--skip-preview')).toMatch(/- 3 deleted/)
    await up()
    expect(await greet()).toEqual({ message: 'Hello, Ada?' })
  })
})

it('nothing is left after a destroy', async () => {
  await pulumi('destroy', '--yes', '--skip-preview')
  await expect(client.send(new GetFunctionConfigurationCommand({ FunctionName: 'greet' }))).rejects.toMatchObject({
    name: 'ResourceNotFoundException',
  })
})
