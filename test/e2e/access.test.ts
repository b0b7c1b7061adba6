/** Keys and policies on a running installation: the command, AWS's SDK, and what of it lies on the disk. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  AddPermissionCommand,
  CreateFunctionUrlConfigCommand,
  GetPolicyCommand,
  InvokeCommand,
  ListFunctionsCommand,
  RemovePermissionCommand,
} from '@aws-sdk/client-lambda'
import { beforeAll, describe, expect, it } from 'vitest'
import { accountIdOf } from '../../services/contracts/function.ts'
import { permitUrl } from '../../services/cli/url-permission.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { installation } from './installation.ts'

const run = promisify(execFile)
const own = installation()
const owner = lambdaClient(own)
const env = { PATH: process.env['PATH'], FORKYARD_STATE_DIR: own.stateDir }
const forkyard = async (...args: string[]): Promise<string> =>
  (await run(join(import.meta.dirname, '../../scripts/forkyard'), args, { env, timeout: 60_000 })).stdout

interface Key {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}
const issue = async (principal: string, ...args: string[]): Promise<Key> =>
  JSON.parse(await forkyard('keys', 'create', principal, '--json', ...args)) as Key
const clientOf = ({ accessKeyId, secretAccessKey }: Key) => lambdaClient({ ...own, accessKeyId, secretAccessKey })

const refused = (name: string) =>
  expect.objectContaining({ name, $metadata: expect.objectContaining({ httpStatusCode: 403 }) as unknown }) as unknown

const name = uniqueName('access')
beforeAll(() => createFunction(owner, name, 'export const handler = async () => "in"'))

const filesUnder = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

describe('a key made with the command', () => {
  const principal = uniqueName('ada')

  it('does what its role allows, ends when it is rotated or revoked, and lies nowhere as text', async () => {
    await forkyard('principals', 'put', principal, '--role', 'invoker')
    const first = await issue(principal)
    expect((await invoke(clientOf(first), name)).json).toBe('in')
    await expect(clientOf(first).send(new ListFunctionsCommand({}))).rejects.toEqual(refused('AccessDeniedException'))

    const second = JSON.parse(await forkyard('keys', 'rotate', principal, '--json')) as Key
    await expect(invoke(clientOf(first), name)).rejects.toEqual(refused('ExpiredTokenException'))
    expect((await invoke(clientOf(second), name)).json).toBe('in')

    await forkyard('keys', 'revoke', principal, second.accessKeyId)
    await expect(invoke(clientOf(second), name)).rejects.toEqual(refused('UnrecognizedClientException'))

    const store = filesUnder(join(own.stateDir, 'nats')).map((file) => readFileSync(file))
    const lies = (text: string) => store.some((bytes) => bytes.includes(text))
    expect([lies(first.accessKeyId), lies(first.secretAccessKey), lies(second.secretAccessKey)]).toEqual([
      // Negative control: what is not secret is found.
      true,
      false,
      false,
    ])
  })
})

describe('a policy', () => {
  it('lets another tenant call by ARN, until it does not', async () => {
    const tenant = uniqueName('tenant')
    await forkyard('principals', 'put', 'carol', '--tenant', tenant, '--role', 'invoker')
    const carol = clientOf(await issue('carol', '--tenant', tenant))
    const FunctionName = `arn:aws:lambda:${own.region}:${accountIdOf('default')}:function:${name}`
    const call = () => carol.send(new InvokeCommand({ FunctionName }))
    await expect(call()).rejects.toEqual(refused('AccessDeniedException'))
    const permission = { FunctionName: name, StatementId: 'carol', Action: 'lambda:InvokeFunction' }
    await owner.send(new AddPermissionCommand({ ...permission, Principal: accountIdOf(tenant) }))
    expect(Buffer.from((await call()).Payload ?? []).toString()).toBe('"in"')
    expect((await owner.send(new GetPolicyCommand({ FunctionName: name }))).Policy).toContain('"Sid":"carol"')
    await owner.send(new RemovePermissionCommand({ FunctionName: name, StatementId: 'carol' }))
    await expect(call()).rejects.toEqual(refused('AccessDeniedException'))
  })

  it('opens a URL without signatures, which is closed before', async () => {
    const config = new CreateFunctionUrlConfigCommand({ FunctionName: name, AuthType: 'NONE' })
    const host = new URL((await owner.send(config)).FunctionUrl ?? '').hostname
    // The host resolves nowhere: the request goes to the gateway's address.
    const { hostname, port } = new URL(own.endpoint)
    const status = async () =>
      (
        await run('curl', [
          '-s',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          '-H',
          `host: ${host}`,
          `http://${hostname}:${port}/`,
        ])
      ).stdout
    expect(await status()).toBe('403')
    await permitUrl(owner, { FunctionName: name }, 'NONE')
    expect(await status()).toBe('200')
  })
})
