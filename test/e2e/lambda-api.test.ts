/** The Lambda API as AWS's own SDK for JavaScript speaks it, from create to delete, on real sandboxes. */
import {
  CreateAliasCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  GetFunctionCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  ListFunctionsCommand,
  ListVersionsByFunctionCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName, zipOf } from '../support/lambda.ts'
import { installation } from './installation.ts'

const client = lambdaClient(installation())
const name = uniqueName('api')
const answering = (word: string) => `export const handler = async (event) => {
  console.log('seen', JSON.stringify(event))
  return { word: '${word}', greeting: process.env.GREETING ?? null, event }
}`

describe('the life of a function', () => {
  afterAll(async () => {
    await client.send(new DeleteFunctionCommand({ FunctionName: name })).catch(() => undefined)
  })

  it('is created and invoked', async () => {
    await createFunction(client, name, answering('one'), { Environment: { Variables: { GREETING: 'hi' } } })
    const { status, json, version, functionError } = await invoke(client, name, { a: [1, 'ü'] })
    expect({ status, version, functionError }).toEqual({ status: 200, version: '$LATEST', functionError: undefined })
    expect(json).toEqual({ word: 'one', greeting: 'hi', event: { a: [1, 'ü'] } })
  })

  it('shows the end of its log, with a REPORT line that has start type and billed time', async () => {
    const { logTail, requestId } = await invoke(client, name, { tail: true }, { LogType: 'Tail' })
    expect(logTail).toContain(`START RequestId: ${requestId} Version: $LATEST`)
    expect(logTail).toContain('seen {"tail":true}')
    expect(logTail).toMatch(/REPORT RequestId: \S+\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\t.*Start Type: warm/)
  })

  it('tells the phases of its start', async () => {
    const cold = await invoke(client, name, {}, { start: 'boot' })
    expect(cold.startType).toBe('boot')
    for (const phase of ['auth', 'place', 'queue', 'sandbox', 'mount', 'init', 'handler'])
      expect(cold.serverTiming).toContain(`${phase};dur=`)
  })

  it('hands out its code', async () => {
    const { Code, Configuration } = await client.send(new GetFunctionCommand({ FunctionName: name }))
    const zip = Buffer.from(await (await fetch(Code?.Location ?? '')).arrayBuffer())
    expect(zip.subarray(0, 2).toString()).toBe('PK')
    expect(zip.length).toBe(Configuration?.CodeSize)
  })

  it('keeps published versions as they are, behind an alias that moves', async () => {
    const first = await client.send(new PublishVersionCommand({ FunctionName: name }))
    expect(first.Version).toBe('1')
    await client.send(new CreateAliasCommand({ FunctionName: name, Name: 'live', FunctionVersion: '1' }))
    await client.send(
      new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile: await zipOf({ 'index.mjs': answering('two') }) }),
    )
    await waitUntilFunctionUpdatedV2({ client, maxWaitTime: 30 }, { FunctionName: name })
    await client.send(
      new UpdateFunctionConfigurationCommand({ FunctionName: name, Environment: { Variables: { GREETING: 'ho' } } }),
    )
    expect((await client.send(new PublishVersionCommand({ FunctionName: name }))).Version).toBe('2')

    expect((await invoke(client, name)).json).toMatchObject({ word: 'two', greeting: 'ho' })
    const aliased = await invoke(client, name, {}, { Qualifier: 'live' })
    expect(aliased).toMatchObject({ version: '1', json: { word: 'one', greeting: 'hi' } })
    await client.send(new UpdateAliasCommand({ FunctionName: name, Name: 'live', FunctionVersion: '2' }))
    expect(await invoke(client, `${name}:live`)).toMatchObject({ version: '2', json: { word: 'two' } })
    const { Versions } = await client.send(new ListVersionsByFunctionCommand({ FunctionName: name }))
    expect(Versions?.map(({ Version }) => Version)).toEqual(['$LATEST', '1', '2'])
  })

  it('is listed', async () => {
    const names: (string | undefined)[] = []
    let Marker: string | undefined
    do {
      const page = await client.send(new ListFunctionsCommand({ MaxItems: 1, ...(Marker ? { Marker } : {}) }))
      names.push(...(page.Functions ?? []).map(({ FunctionName }) => FunctionName))
      Marker = page.NextMarker
    } while (Marker)
    expect(names).toContain(name)
  })

  it('is gone after its deletion', async () => {
    await client.send(new DeleteFunctionCommand({ FunctionName: name }))
    await expect(invoke(client, name)).rejects.toMatchObject({ name: 'ResourceNotFoundException' })
    await expect(invoke(client, name, {}, { InvocationType: 'Event' })).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
      $metadata: { httpStatusCode: 404 },
    })
  })
})

describe('ways of invoking', () => {
  it('dry runs without running', async () => {
    const target = uniqueName('dry')
    await createFunction(client, target, `export const handler = async () => { throw new Error('ran') }`)
    const { status, functionError } = await invoke(client, target, {}, { InvocationType: 'DryRun' })
    expect({ status, functionError }).toEqual({ status: 204, functionError: undefined })
  })

  it('answers 202 to an event and really runs it', async () => {
    const [target, memory] = [uniqueName('async'), uniqueName('mark')]
    // Two invocations of one instance: the second sees what the first left.
    await createFunction(
      client,
      target,
      `let seen = []
export const handler = async (event) => {
  if (event.mark) seen.push(event.mark)
  return seen
}`,
      { Tags: { 'forkyard:keep-alive-ms': '600000' } },
    )
    const { status, text } = await invoke(client, target, { mark: memory }, { InvocationType: 'Event' })
    expect({ status, text }).toEqual({ status: 202, text: '' })
    await vi.waitFor(async () => expect((await invoke(client, target)).json).toEqual([memory]), {
      timeout: 20_000,
      interval: 200,
    })
  })

  it('streams an answer as it comes', async () => {
    const target = uniqueName('stream')
    await createFunction(
      client,
      target,
      `import { setTimeout as pause } from 'node:timers/promises'
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  for (const word of event.words) {
    stream.write(word + ' ')
    await pause(300)
  }
  stream.end()
})`,
    )
    const reply = await client.send(
      new InvokeWithResponseStreamCommand({
        FunctionName: target,
        Payload: Buffer.from(JSON.stringify({ words: ['a', 'b', 'c'] })),
        LogType: 'Tail',
      }),
    )
    const chunks: { text: string; at: number }[] = []
    let complete
    for await (const { PayloadChunk, InvokeComplete } of reply.EventStream ?? []) {
      if (PayloadChunk?.Payload)
        chunks.push({ text: Buffer.from(PayloadChunk.Payload).toString(), at: performance.now() })
      complete = InvokeComplete ?? complete
    }
    expect(chunks.map(({ text }) => text).join('')).toBe('a b c ')
    expect(chunks.length).toBeGreaterThan(1)
    expect(complete?.ErrorCode ?? '').toBe('')
    expect(Buffer.from(complete?.LogResult ?? '', 'base64').toString()).toContain('REPORT RequestId')
  })

  it('runs a handler with a callback', async () => {
    const target = uniqueName('callback')
    const source = `exports.handler = (event, context, done) => setTimeout(() => done(null, context.functionName), 10)`
    await createFunction(client, target, { 'index.js': source })
    expect((await invoke(client, target)).json).toBe(target)
  })

  it('runs a custom runtime', async () => {
    const target = uniqueName('custom')
    const bootstrap = `#!/bin/bash
api="http://\${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
while true; do
  event="$(curl -sS -D /tmp/headers "$api/invocation/next")"
  id="$(sed -n 's/^lambda-runtime-aws-request-id: *\\([^[:space:]]*\\).*/\\1/Ip' /tmp/headers)"
  curl -sS -o /dev/null -X POST "$api/invocation/$id/response" --data-binary "{\\"got\\":$event,\\"pwd\\":\\"$PWD\\"}"
done
`
    await createFunction(client, target, { bootstrap }, { Runtime: 'provided.al2023', Handler: 'any' })
    for (const start of ['restore', 'boot'] as const)
      expect(await invoke(client, target, { n: 1 }, { start })).toMatchObject({
        startType: start,
        json: { got: { n: 1 }, pwd: '/var/task' },
      })
  })

  it('keeps requests apart when an instance takes several', async () => {
    const target = uniqueName('concurrent')
    const source = `let running = 0, most = 0
export const handler = async (event) => {
  most = Math.max(most, ++running)
  await new Promise((resolve) => setTimeout(resolve, 300))
  running--
  return { n: event.n, most }
}`
    const tags = { 'forkyard:concurrency': '4', 'forkyard:keep-alive-ms': '60000' }
    await createFunction(client, target, source, { Tags: tags })
    await invoke(client, target, { n: -1 })
    const answers = await Promise.all([0, 1, 2, 3].map(async (n) => (await invoke(client, target, { n })).json))
    expect(answers.map((answer) => (answer as { n: number }).n)).toEqual([0, 1, 2, 3])
    expect(Math.max(...answers.map((answer) => (answer as { most: number }).most))).toBeGreaterThan(1)
  })

  it('runs no more of a function at a time than is reserved for it', async () => {
    const FunctionName = uniqueName('reserved')
    const source = `export const handler = (event) => new Promise((resolve) => setTimeout(() => resolve(event.n), 3000))`
    await createFunction(client, FunctionName, source)
    const reserve = (ReservedConcurrentExecutions: number) =>
      client.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions }))
    const both = () => Promise.allSettled([1, 2].map(async (n) => invoke(client, FunctionName, { n })))
    const throttled = {
      status: 'rejected',
      reason: {
        name: 'TooManyRequestsException',
        Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded',
        retryAfterSeconds: '1',
        $metadata: { httpStatusCode: 429 },
      },
    }
    const ran = { status: 'fulfilled', value: { status: 200, functionError: undefined } }

    await reserve(1)
    const answers = await both()
    expect(answers.toSorted((a, b) => (a.status < b.status ? -1 : 1))).toMatchObject([ran, throttled])
    // One after the other nobody is in the way of anybody.
    for (const n of [3, 4]) expect((await invoke(client, FunctionName, { n })).json).toBe(n)
    await reserve(0)
    expect(await both()).toMatchObject([throttled, throttled])
    await client.send(new DeleteFunctionConcurrencyCommand({ FunctionName }))
    expect(await both()).toMatchObject([ran, ran])
  })

  it('passes the client context on', async () => {
    const target = uniqueName('context')
    await createFunction(client, target, 'export const handler = async (event, context) => context.clientContext')
    const context = { custom: { user: 'ä' } }
    const { Payload } = await client.send(
      new InvokeCommand({
        FunctionName: target,
        ClientContext: Buffer.from(JSON.stringify(context)).toString('base64'),
      }),
    )
    expect(JSON.parse(Buffer.from(Payload ?? []).toString())).toEqual(context)
  })
})
