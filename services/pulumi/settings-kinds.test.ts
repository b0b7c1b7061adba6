/** Against a gateway in this process. */
import { GetAliasCommand, PublishVersionCommand } from '@aws-sdk/client-lambda'
import { expect, it } from 'vitest'
import { client, create, FunctionName, gateway, useControlPlane } from '../gateway/testing/control-plane.ts'
import { account } from '../gateway/testing/gateway.ts'
import type { Properties } from './property-values.ts'
import { diffResponse } from './provider-service.ts'
import { checkInputs } from './resource-kind.ts'
import { aliasKind, eventQueueKind, functionUrlKind } from './settings-kinds.ts'

useControlPlane()

const target = () => ({
  client,
  connection: { ...account, endpoint: gateway.url, region: 'eu-test-1' },
  urn: 'urn:pulumi:test::unit::forkyard:index:Alias::blue',
})
const alias = async (given: Properties = {}): Promise<Properties> =>
  (await checkInputs(aliasKind, { functionName: FunctionName, name: 'blue', functionVersion: '1', ...given }, 'blue'))
    .inputs
const descriptionNow = async () => (await client.send(new GetAliasCommand({ FunctionName, Name: 'blue' }))).Description

it('a creation that was cut off goes on; what is there otherwise is refused and stays, unless it is to be adopted', async () => {
  await create()
  await client.send(new PublishVersionCommand({ FunctionName }))
  await aliasKind.create(target(), await alias({ description: 'mine' }))
  await aliasKind.create(target(), await alias({ description: 'mine' }))
  const other = await alias({ description: 'another' })
  await expect(aliasKind.create(target(), other)).rejects.toThrow(/is there already, .*import: '.*:blue'.*adopt: true/)
  expect(await descriptionNow()).toBe('mine')
  await aliasKind.create(target(), { ...other, adopt: true })
  expect(await descriptionNow()).toBe('another')
})

it('the same holds for a URL and an event queue', async () => {
  await create()
  const of = { functionName: FunctionName, qualifier: '$LATEST' }
  const url = (await checkInputs(functionUrlKind, of, 'url')).inputs
  await functionUrlKind.create(target(), url)
  await expect(functionUrlKind.create(target(), { ...url, invokeMode: 'RESPONSE_STREAM' })).rejects.toThrow(
    'adopt: true',
  )
  await functionUrlKind.create(target(), { ...url, invokeMode: 'RESPONSE_STREAM', adopt: true })
  const queue = (await checkInputs(eventQueueKind, of, 'queue')).inputs
  await eventQueueKind.create(target(), queue)
  await eventQueueKind.create(target(), queue)
  await expect(eventQueueKind.create(target(), { ...queue, maximumRetryAttempts: 0 })).rejects.toThrow('adopt: true')
  await eventQueueKind.create(target(), { ...queue, maximumRetryAttempts: 0, adopt: true })
})

it('that something may be adopted changes nothing once it is there', async () => {
  const before = await alias()
  expect(diffResponse(aliasKind, before, { ...before, adopt: true }).getDiffsList()).toEqual([])
})
