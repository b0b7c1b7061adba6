import { DeleteFunctionCommand } from '@aws-sdk/client-lambda'
import { describe, expect, it } from 'vitest'
import { create, FunctionName, gateway, useControlPlane } from '../testing/control-plane.ts'
import { account, otherAccount } from '../testing/gateway.ts'
import { signHeaders } from '../testing/signed-head.ts'

useControlPlane()

const policy = { rules: [{ action: 'allow', protocol: 'tcp', cidr: '192.0.2.0/24', ports: [443, '8000-8080'] }] }

const call = async (method: string, value?: unknown, credentials = account): Promise<[number, unknown]> => {
  const path = `/forkyard/v1/functions/${FunctionName}/network-policy`
  const body = value === undefined ? '' : JSON.stringify(value)
  const { host: _host, ...headers } = await signHeaders(gateway.port, method, path, body, { credentials })
  const reply = await fetch(gateway.url + path, { method, headers, ...(body ? { body } : {}) })
  const text = await reply.text()
  return [reply.status, text === '' ? undefined : JSON.parse(text)]
}

describe('the network policy of a function', () => {
  it('is not there until it is set; then it is told as it was set, until it is taken away', async () => {
    await create()
    expect(await call('GET')).toEqual([
      404,
      expect.objectContaining({ message: expect.stringContaining('no network') }),
    ])
    const [status, reply] = await call('PUT', policy)
    expect([status, reply]).toEqual([200, { functionName: FunctionName, policy, lastModified: expect.any(String) }])
    expect(await call('GET')).toEqual([200, reply])
    expect(await call('DELETE')).toEqual([204, undefined])
    expect((await call('GET'))[0]).toBe(404)
    expect((await call('DELETE'))[0]).toBe(404)
  })

  it('is its owner’s alone', async () => {
    await create()
    await call('PUT', policy)
    for (const method of ['GET', 'DELETE']) expect((await call(method, undefined, otherAccount))[0]).toBe(404)
    expect((await call('PUT', { rules: [] }, otherAccount))[0]).toBe(404)
    expect((await call('GET'))[1]).toMatchObject({ policy })
  })

  it('goes with the function: a later one of the name has none', async () => {
    await create()
    await call('PUT', policy)
    await gateway.client().send(new DeleteFunctionCommand({ FunctionName }))
    expect((await call('PUT', policy))[0]).toBe(404)
    await create()
    expect((await call('GET'))[0]).toBe(404)
  })

  it.each([
    [{}, 'rules'],
    [{ rules: [{ ...policy.rules[0], action: 'maybe' }] }, 'rules.0.action'],
    [{ rules: [{ ...policy.rules[0], cidr: '192.0.2.1/24' }] }, 'rules[0].cidr'],
    [{ rules: [{ ...policy.rules[0], ports: ['80-79'] }] }, 'rules[0].ports'],
    [{ rules: [], more: 1 }, 'more'],
    [{ rules: [], limits: { bytesPerSecond: 1 } }, 'bytesPerSecond'],
  ])('with a mistake is refused by its place: %j', async (value, place) => {
    await create()
    const [status, reply] = await call('PUT', value)
    expect([status, reply]).toEqual([400, expect.objectContaining({ message: expect.stringContaining(place) })])
  })
})
