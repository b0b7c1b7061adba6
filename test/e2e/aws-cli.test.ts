/** The unmodified AWS CLI, from create to delete, with nothing but the variables that `forkyard env` prints. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { awsCli } from '../../scripts/setup/aws-cli.ts'
import { uniqueName, zipOf } from '../support/lambda.ts'
import { installation } from './installation.ts'

const run = promisify(execFile)
const dir = mkdtempSync(join(tmpdir(), 'forkyard-aws-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const { endpoint, accessKeyId, secretAccessKey, region } = installation()
const env = {
  PATH: process.env['PATH'],
  HOME: dir,
  AWS_ENDPOINT_URL: endpoint,
  AWS_ACCESS_KEY_ID: accessKeyId,
  AWS_SECRET_ACCESS_KEY: secretAccessKey,
  AWS_REGION: region,
  AWS_DEFAULT_REGION: region,
}
const aws = async (...args: string[]): Promise<Record<string, unknown>> => {
  const { stdout } = await run(awsCli(), ['lambda', ...args, '--output', 'json'], { env, timeout: 60_000 })
  return stdout.trim() === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>)
}

/** `{functionName: 'x'}` as `--function-name x`. */
const given = (options: Record<string, string>): string[] =>
  Object.entries(options).flatMap(([key, value]) => [
    `--${key.replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`,
    value,
  ])

const name = uniqueName('awscli')
const zip = join(dir, 'code.zip')
const out = join(dir, 'out.json')
const pack = async (word: string): Promise<void> =>
  writeFileSync(
    zip,
    await zipOf({ 'index.mjs': `export const handler = async (event) => ({ word: '${word}', event })` }),
  )
const answer = (): unknown => JSON.parse(readFileSync(out, 'utf8'))
const invoke = (...args: string[]) => aws('invoke', '--function-name', name, '--payload', '{"k":1}', ...args, out)

describe('aws lambda', () => {
  it('create-function, wait, invoke', async () => {
    await pack('one')
    const created = await aws(
      'create-function',
      ...given({ functionName: name, runtime: 'nodejs24.x', handler: 'index.handler' }),
      ...given({ role: 'arn:aws:iam::000000000000:role/any', zipFile: `fileb://${zip}` }),
    )
    expect(created).toMatchObject({ FunctionName: name, Runtime: 'nodejs24.x', Version: '$LATEST' })
    await aws('wait', 'function-active-v2', '--function-name', name)
    expect(await invoke()).toMatchObject({ StatusCode: 200, ExecutedVersion: '$LATEST' })
    expect(answer()).toEqual({ word: 'one', event: { k: 1 } })
  })

  it('invoke --log-type Tail', async () => {
    const { LogResult } = await invoke('--log-type', 'Tail')
    expect(Buffer.from(String(LogResult), 'base64').toString()).toContain('REPORT RequestId')
  })

  it('invoke --invocation-type Event and DryRun', async () => {
    expect(await invoke('--invocation-type', 'Event')).toMatchObject({ StatusCode: 202 })
    expect(await invoke('--invocation-type', 'DryRun')).toMatchObject({ StatusCode: 204 })
  })

  it('publish-version, create-alias, update-function-code, invoke by alias', async () => {
    expect(await aws('publish-version', '--function-name', name)).toMatchObject({ Version: '1' })
    await aws('create-alias', '--function-name', name, '--name', 'live', '--function-version', '1')
    await pack('two')
    await aws('update-function-code', '--function-name', name, '--zip-file', `fileb://${zip}`)
    await aws('wait', 'function-updated-v2', '--function-name', name)
    await invoke()
    expect(answer()).toMatchObject({ word: 'two' })
    await invoke('--qualifier', 'live')
    expect(answer()).toMatchObject({ word: 'one' })
  })

  it('create-function-url-config, list-functions, list-tags, put-function-event-invoke-config', async () => {
    const url = await aws('create-function-url-config', '--function-name', name, '--auth-type', 'NONE')
    expect(url['FunctionUrl']).toMatch(/^https?:\/\//)
    const { Functions } = (await aws('list-functions')) as { Functions: { FunctionName: string }[] }
    expect(Functions.map(({ FunctionName }) => FunctionName)).toContain(name)
    const { FunctionArn } = (await aws('get-function-configuration', '--function-name', name)) as {
      FunctionArn: string
    }
    await aws('tag-resource', '--resource', FunctionArn, '--tags', 'team=blue')
    expect(await aws('list-tags', '--resource', FunctionArn)).toMatchObject({ Tags: { team: 'blue' } })
    await aws('put-function-event-invoke-config', '--function-name', name, '--maximum-retry-attempts', '0')
  })

  it('add-permission, get-policy, remove-permission', async () => {
    const statement = given({ functionName: name, statementId: 'bucket' })
    await aws('add-permission', ...statement, '--action', 'lambda:InvokeFunction', '--principal', 's3.amazonaws.com')
    const { Policy, RevisionId } = await aws('get-policy', '--function-name', name)
    expect(JSON.parse(String(Policy))).toMatchObject({ Statement: [{ Sid: 'bucket', Effect: 'Allow' }] })
    await aws('remove-permission', ...statement, '--revision-id', String(RevisionId))
    await expect(aws('get-policy', '--function-name', name)).rejects.toThrow('ResourceNotFoundException')
  })

  it('delete-function', async () => {
    await aws('delete-function', '--function-name', name)
    await expect(aws('get-function', '--function-name', name)).rejects.toMatchObject({
      stderr: expect.stringContaining('ResourceNotFoundException'),
    })
  })
})
