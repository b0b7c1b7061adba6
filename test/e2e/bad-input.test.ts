/** What goes wrong names its cause, harms nobody else, and leaves nothing behind. */
import { crc32 } from 'node:zlib'
import { CreateFunctionCommand, GetFunctionCommand, InvokeCommand, type Runtime } from '@aws-sdk/client-lambda'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName, zipOf } from '../support/lambda.ts'
import { installation } from './installation.ts'
import { leftoversOf } from './host.ts'

const client = lambdaClient(installation())
const bystander = uniqueName('bystander')

beforeAll(async () => {
  await createFunction(client, bystander, `export const handler = async () => 'fine'`)
})

afterEach(async () => {
  // The platform is unharmed: another function answers, and nothing of a dead instance is left.
  expect((await invoke(client, bystander)).json).toBe('fine')
  await vi.waitFor(async () => expect(await leftoversOf(installation())).toEqual([]), {
    timeout: 15_000,
    interval: 250,
  })
})

/** One stored entry with any name and Unix mode, as no honest zip tool makes it. */
const rawZip = (fileName: string, content: string, mode = 0o100644): Buffer => {
  const [name, data] = [Buffer.from(fileName), Buffer.from(content)]
  const local = Buffer.alloc(30)
  local.writeUInt32LE(0x04034b50, 0)
  local.writeUInt16LE(20, 4)
  local.writeUInt32LE(crc32(data), 14)
  local.writeUInt32LE(data.length, 18)
  local.writeUInt32LE(data.length, 22)
  local.writeUInt16LE(name.length, 26)
  const central = Buffer.alloc(46)
  central.writeUInt32LE(0x02014b50, 0)
  central.writeUInt16LE((3 << 8) | 20, 4)
  central.writeUInt16LE(20, 6)
  local.copy(central, 16, 14, 30)
  central.writeUInt16LE(0, 30)
  central.writeUInt32LE((mode << 16) >>> 0, 38)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(1, 8)
  end.writeUInt16LE(1, 10)
  end.writeUInt32LE(central.length + name.length, 12)
  end.writeUInt32LE(local.length + name.length + data.length, 16)
  return Buffer.concat([local, name, data, central, name, end])
}

const create = (ZipFile: Uint8Array, input: { Runtime?: Runtime; Handler?: string } = {}) =>
  client.send(
    new CreateFunctionCommand({
      FunctionName: uniqueName('bad'),
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Role: 'arn:aws:iam::000000000000:role/test',
      Code: { ZipFile },
      ...input,
    }),
  )

describe('archives', () => {
  it.each<[string, () => Promise<Buffer> | Buffer, RegExp]>([
    ['that are no zip', () => Buffer.from('not a zip'), /unzip/i],
    ['with a path that leads out', () => rawZip('../../escape.js', 'x'), /\.\.|relative/],
    ['with an absolute path', () => rawZip('/etc/cron.d/x', 'x'), /absolute/],
    ['with a symbolic link', () => rawZip('index.js', '/etc/passwd', 0o120777), /link/],
    ['with a device', () => rawZip('index.js', '', 0o020666), /link or device/],
    ['cut short', async () => (await zipOf({ 'index.js': 'exports.handler = 1' })).subarray(0, 100), /unzip/i],
  ])('%s are refused with InvalidParameterValueException', async (_what, zip, message) => {
    await expect(create(await zip())).rejects.toMatchObject({
      name: 'InvalidParameterValueException',
      message: expect.stringMatching(message),
      $metadata: { httpStatusCode: 400 },
    })
  })

  it('that unpack to more than the limit are refused, naming it', async () => {
    const bomb = await zipOf({ 'index.js': 'exports.handler = 1', 'bomb.bin': Buffer.alloc(300 * 1024 * 1024) })
    expect(bomb.length).toBeLessThan(1024 * 1024)
    await expect(create(bomb)).rejects.toMatchObject({
      name: 'CodeStorageExceededException',
      message: expect.stringMatching(/\d+ bytes/),
    })
  })

  it('over the limit of the zip itself are refused, naming it', async () => {
    const { default: crypto } = await import('node:crypto')
    const big = await zipOf({ 'index.js': 'exports.handler = 1', 'noise.bin': crypto.randomBytes(51 * 1024 * 1024) })
    await expect(create(big)).rejects.toMatchObject({
      name: expect.stringMatching(/RequestTooLarge|CodeStorageExceeded|RequestEntityTooLarge/),
      message: expect.stringMatching(/\d+ bytes/),
    })
  })
})

describe('configuration', () => {
  it('with an unknown runtime is refused, naming the runtimes', async () => {
    const zip = await zipOf({ 'index.js': '1' })
    await expect(create(zip, { Runtime: 'cobol74' as Runtime })).rejects.toMatchObject({
      name: 'InvalidParameterValueException',
      message: expect.stringMatching(/cobol74.*nodejs24\.x/),
    })
  })

  it('with a handler that is in no file is refused', async () => {
    await expect(create(await zipOf({ 'index.js': '1' }), { Handler: 'other.handler' })).rejects.toMatchObject({
      name: 'InvalidParameterValueException',
      message: expect.stringContaining('other'),
    })
  })
})

const failing = async (source: string, input: Parameters<typeof createFunction>[3] = {}) => {
  const name = uniqueName('fails')
  await createFunction(client, name, source, { Tags: { 'forkyard:keep-alive-ms': '0' }, ...input })
  return name
}

describe('functions', () => {
  it('that throw answer 200 with the error, its type and its trace', async () => {
    const name = await failing(`export const handler = async () => { throw new RangeError('too far') }`)
    const { status, functionError, json } = await invoke(client, name)
    expect({ status, functionError }).toEqual({ status: 200, functionError: 'Unhandled' })
    expect(json).toMatchObject({ errorType: 'RangeError', errorMessage: 'too far' })
    expect((json as { trace: string[] }).trace.join('\n')).toContain('index.mjs')
  })

  it('whose handler is not exported fail with Runtime.HandlerNotFound', async () => {
    const name = await failing(`export const other = 1`)
    expect(await invoke(client, name)).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'Runtime.HandlerNotFound', errorMessage: expect.stringContaining('index.handler') },
    })
  })

  it('whose module throws fail with what it threw', async () => {
    const name = await failing(`throw new TypeError('at init')`)
    expect(await invoke(client, name)).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'TypeError', errorMessage: 'at init' },
    })
  })

  it('that exit fail with Runtime.ExitError and the status', async () => {
    const name = await failing(`export const handler = async () => { process.exit(7) }`)
    expect(await invoke(client, name)).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'Runtime.ExitError', errorMessage: expect.stringContaining('exit status 7') },
    })
  })

  it('that never return are killed at their time-out and billed up to it', async () => {
    const name = await failing(`export const handler = async () => { for (;;) {} }`, { Timeout: 1 })
    const { json, functionError, logTail } = await invoke(client, name, {}, { LogType: 'Tail' })
    expect(functionError).toBe('Unhandled')
    expect(json).toMatchObject({ errorType: 'Sandbox.Timedout', errorMessage: expect.stringContaining('1.00 seconds') })
    expect(logTail).toContain('Billed Duration: 1000 ms')
  })

  it('that allocate without end fail with Runtime.OutOfMemory and the evidence', async () => {
    const source = `export const handler = async () => {
  const held = []
  for (;;) held.push(Buffer.alloc(8 * 1024 * 1024, 1))
}`
    const name = await failing(source, { MemorySize: 128 })
    expect(await invoke(client, name)).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'Runtime.OutOfMemory', errorMessage: expect.stringMatching(/128 MB.*kernel kills [1-9]/) },
    })
  })

  it('that answer too much fail with the limit', async () => {
    const name = await failing(`export const handler = async () => 'x'.repeat(7 * 1024 * 1024)`)
    expect(await invoke(client, name)).toMatchObject({
      functionError: 'Unhandled',
      json: {
        errorType: 'Function.ResponseSizeTooLarge',
        errorMessage: expect.stringMatching(/\(6291\d+ bytes\)|\(\d+ bytes\)/),
      },
    })
  })

  it('that answer with something that is no JSON fail with Runtime.MarshalError', async () => {
    const name = await failing(`export const handler = async () => { const a = {}; a.a = a; return a }`)
    expect(await invoke(client, name)).toMatchObject({
      functionError: 'Unhandled',
      json: { errorType: 'Runtime.MarshalError' },
    })
  })
})

describe('requests', () => {
  it('for unknown functions are refused with ResourceNotFoundException', async () => {
    await expect(client.send(new GetFunctionCommand({ FunctionName: 'no-such-function' }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
      $metadata: { httpStatusCode: 404 },
    })
  })

  it('with a wrong secret are refused with InvalidSignatureException', async () => {
    const stranger = lambdaClient({ ...installation(), secretAccessKey: 'x'.repeat(40) })
    await expect(invoke(stranger, bystander)).rejects.toMatchObject({
      name: 'InvalidSignatureException',
      $metadata: { httpStatusCode: 403 },
    })
  })

  it('with an unknown key are refused with UnrecognizedClientException', async () => {
    const stranger = lambdaClient({ ...installation(), accessKeyId: 'AKIAUNKNOWNUNKNOWN00' })
    await expect(invoke(stranger, bystander)).rejects.toMatchObject({ name: 'UnrecognizedClientException' })
  })

  it('from a clock that is wrong are refused, with both times', async () => {
    const late = lambdaClient(installation())
    late.config.systemClockOffset = -3600_000
    await expect(invoke(late, bystander)).rejects.toMatchObject({
      name: 'InvalidSignatureException',
      message: expect.stringMatching(/Signature expired/),
    })
  })

  it('without signature are refused with MissingAuthenticationTokenException', async () => {
    const reply = await fetch(`${installation().endpoint}/2015-03-31/functions/`)
    expect(reply.status).toBe(403)
    expect(reply.headers.get('x-amzn-errortype')).toBe('MissingAuthenticationTokenException')
  })

  it('with a payload over the limit are refused with RequestTooLargeException', async () => {
    await expect(invoke(client, bystander, 'x'.repeat(6 * 1024 * 1024 + 1))).rejects.toMatchObject({
      name: expect.stringMatching(/RequestTooLarge/),
      $metadata: { httpStatusCode: 413 },
    })
  })

  it('whose payload is no JSON are refused with InvalidRequestContentException', async () => {
    const command = new InvokeCommand({ FunctionName: bystander, Payload: Buffer.from('{"a":') })
    await expect(client.send(command)).rejects.toMatchObject({ name: 'InvalidRequestContentException' })
  })
})
