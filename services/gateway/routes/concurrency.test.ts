import {
  DeleteFunctionConcurrencyCommand,
  GetAccountSettingsCommand,
  GetFunctionCommand,
  GetFunctionConcurrencyCommand,
  InvokeCommand,
  PutFunctionConcurrencyCommand,
} from '@aws-sdk/client-lambda'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PlatformError } from '../../contracts/errors.ts'
import { client, create, FunctionName, gateway, invalid, refusal, useControlPlane } from '../testing/control-plane.ts'

useControlPlane()

/** Places for instances of the one node. */
let places: number
beforeEach(() => {
  places = 256
  vi.spyOn(gateway.deps.scheduler, 'nodes').mockImplementation(async () => [
    {
      nodeId: 'n-1',
      url: gateway.node.url,
      accepting: true,
      capacity: { memoryMiB: 1024, instances: places, cpus: 2 },
    },
  ])
})
afterEach(async () => {
  vi.restoreAllMocks()
  await remove(FunctionName).catch(() => undefined)
})

const reserve = (count: number, name = FunctionName) =>
  client.send(new PutFunctionConcurrencyCommand({ FunctionName: name, ReservedConcurrentExecutions: count }))
const remove = (name = FunctionName) => client.send(new DeleteFunctionConcurrencyCommand({ FunctionName: name }))
const reserved = async () =>
  (await client.send(new GetFunctionConcurrencyCommand({ FunctionName }))).ReservedConcurrentExecutions
const unreserved = async () =>
  (await client.send(new GetAccountSettingsCommand({}))).AccountLimit?.UnreservedConcurrentExecutions
const invoke = () => client.send(new InvokeCommand({ FunctionName }))

/** What the scheduler is told with a placement. */
const told = async () => {
  await invoke()
  return gateway.placements.at(-1)?.reservedConcurrency
}
const refuse = (details: Readonly<Record<string, unknown>>) =>
  vi
    .spyOn(gateway.deps.scheduler, 'place')
    .mockRejectedValueOnce(new PlatformError('TOO_MANY_REQUESTS', 'Rate exceeded', details))

describe('reserved concurrency', () => {
  it('is set, seen everywhere, changed and removed', async () => {
    await create()
    expect(await reserved()).toBeUndefined()
    expect((await client.send(new GetFunctionCommand({ FunctionName }))).Concurrency).toBeUndefined()
    expect((await reserve(7)).ReservedConcurrentExecutions).toBe(7)
    expect(await reserved()).toBe(7)
    expect((await client.send(new GetFunctionCommand({ FunctionName }))).Concurrency).toEqual({
      ReservedConcurrentExecutions: 7,
    })
    expect(await unreserved()).toBe(249)
    await reserve(0)
    expect(await reserved()).toBe(0)
    await remove()
    expect(await reserved()).toBeUndefined()
    expect(await unreserved()).toBe(256)
    await remove()
  })

  it('goes to the scheduler with each placement, as it is then', async () => {
    await create()
    expect(await told()).toBeUndefined()
    await reserve(3)
    expect(await told()).toBe(3)
    await reserve(0)
    expect(await told()).toBe(0)
    await remove()
    expect(await told()).toBeUndefined()
  })

  it('makes no new revision: instances stay', async () => {
    await create()
    const before = gateway.deps.registry.get('default', FunctionName).latest
    await reserve(3)
    expect(gateway.deps.registry.get('default', FunctionName).latest).toEqual(before)
  })

  it('leaves a hundred for functions without it', async () => {
    await create()
    await expect(reserve(157)).rejects.toMatchObject(invalid('below its minimum value of [100]'))
    await reserve(156)
    await reserve(155)
    expect(await reserved()).toBe(155)
    // Nodes left: less is still better than more.
    places = 8
    await expect(reserve(156)).rejects.toMatchObject(invalid('minimum'))
    await reserve(100)
    expect(await reserved()).toBe(100)
  })

  it('is refused below 0, without a number, for a version and for what is not there', async () => {
    await create({ Publish: true })
    await expect(reserve(-1)).rejects.toMatchObject(invalid())
    await expect(reserve(undefined as never)).rejects.toMatchObject(invalid())
    await expect(reserve(1, `${FunctionName}:1`)).rejects.toMatchObject(invalid('qualifier'))
    const none = refusal('ResourceNotFoundException', 404)
    await expect(reserve(1, 'nobody')).rejects.toMatchObject(none)
    await expect(remove('nobody')).rejects.toMatchObject(none)
    await expect(client.send(new GetFunctionConcurrencyCommand({ FunctionName: 'nobody' }))).rejects.toMatchObject(none)
    expect(await reserved()).toBeUndefined()
  })

  it('is named as the reason when it throttles, with the time to wait', async () => {
    await create()
    refuse({ limit: 'reservedConcurrency' })
    await expect(invoke()).rejects.toMatchObject({
      ...refusal('TooManyRequestsException', 429, 'Rate exceeded'),
      Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded',
      retryAfterSeconds: '1',
    })
    refuse({ limit: 'all' })
    await expect(invoke()).rejects.toMatchObject({
      name: 'TooManyRequestsException',
      Reason: 'ConcurrentInvocationLimitExceeded',
    })
  })
})
