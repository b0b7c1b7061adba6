/** Against a gateway in this process. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  DeleteAliasCommand,
  GetAliasCommand,
  GetFunctionCommand,
  UpdateFunctionConfigurationCommand,
} from '@aws-sdk/client-lambda'
import proto from '@pulumi/pulumi/proto/provider_pb.js'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { isNotFound, signedFetch } from '../cli/signed-fetch.ts'
import { client, FunctionName, gateway, useControlPlane } from '../gateway/testing/control-plane.ts'
import { account } from '../gateway/testing/gateway.ts'
import { functionKind } from './function-kind.ts'
import { isSecret, unknownValue, withoutSecrets, type Properties } from './property-values.ts'
import { diffResponse } from './provider-service.ts'
import { checkInputs } from './resource-kind.ts'

useControlPlane()

const code = mkdtempSync(join(tmpdir(), 'forkyard-function-'))
afterAll(() => rmSync(code, { recursive: true, force: true }))
beforeEach(() => writeFileSync(join(code, 'index.ts'), 'export const handler = async () => 1'))

const urn = 'urn:pulumi:test::unit::forkyard:index:Function::greet'
const target = () => ({ client, urn, connection: { ...account, endpoint: gateway.url, region: 'eu-test-1' } })
const check = (given: Properties = {}) => checkInputs(functionKind, { code, ...given }, FunctionName)
const inputsOf = async (given: Properties = {}): Promise<Properties> =>
  withoutSecrets((await check(given)).inputs) as Properties
const create = async (given: Properties = {}) => {
  const inputs = await inputsOf(given)
  const { computed } = await functionKind.create(target(), inputs)
  return { ...inputs, ...computed }
}

it('what differs is published as a version, and the alias moved', async () => {
  const before = await create({ concurrency: 2 })
  writeFileSync(join(code, 'index.ts'), 'export const handler = async () => 2')
  const inputs = await inputsOf({ memory: 256 })
  const found = diffResponse(functionKind, before, inputs)
  expect(found.getDiffsList()).toEqual(expect.arrayContaining(['memory', 'codeSha256', 'files', 'concurrency']))
  expect(await functionKind.update(target(), FunctionName, before, inputs)).toMatchObject({ version: '2' })
  const { Tags } = await client.send(new GetFunctionCommand({ FunctionName }))
  expect(Object.keys(Tags ?? {})).toEqual(['forkyard:pulumi-urn'])
})

it('what is as it should be is no difference, also from another directory', async () => {
  const before = await create()
  expect(diffResponse(functionKind, before, { ...(await inputsOf()), code: '/elsewhere' }).getDiffsList()).toEqual([])
})

it('another name is another function', async () => {
  const before = await create()
  expect(diffResponse(functionKind, before, await inputsOf({ name: 'other' })).getReplacesList()).toEqual(['name'])
})

it('an interrupted creation goes on; a function of somebody else is refused', async () => {
  await create()
  await client.send(new DeleteAliasCommand({ FunctionName, Name: 'live' }))
  await create()
  await client.send(new GetAliasCommand({ FunctionName, Name: 'live' }))
  const inputs = await inputsOf()
  const other = { ...target(), urn: `${urn}-of-another-stack` }
  await expect(functionKind.create(other, inputs)).rejects.toThrow(/import: '/)
})

it('a variable that the platform sets itself is refused before anything is asked of it', async () => {
  const { failures } = await check({ environment: { GREETING: 'a', AWS_REGION: 'b' } })
  expect(failures).toEqual([{ property: 'environment', reason: 'AWS_REGION is set by the platform itself' }])
  writeFileSync(join(code, 'forkyard.json'), '{ "environment": { "AWS_LAMBDA_RUNTIME_API": "x" } }')
  const fromFile = (await check()).failures
  rmSync(join(code, 'forkyard.json'))
  expect(fromFile).toEqual([
    { property: 'environment', reason: 'AWS_LAMBDA_RUNTIME_API is set by the platform itself' },
  ])
})

it('drift is told, and values that somebody else set are secrets', async () => {
  const known = await create({ environment: { LEVEL: 'info' } })
  await client.send(
    new UpdateFunctionConfigurationCommand({ FunctionName, Environment: { Variables: { OTHER: 'x' } } }),
  )
  const found = await functionKind.read(target(), FunctionName, known)
  const { OTHER } = (found?.inputs ?? {})['environment'] as Properties
  expect(isSecret(OTHER)).toBe(true)
  await functionKind.remove(target(), FunctionName, known)
  expect(await functionKind.read(target(), FunctionName, known)).toBeUndefined()
  await functionKind.remove(target(), FunctionName, known)
})

it('what an import reads is what the same program wants', async () => {
  await create({ timeout: 7, tags: { team: 'a' } })
  const found = await functionKind.read(target(), FunctionName, {})
  const known = withoutSecrets({ ...found?.inputs, ...found?.computed }) as Properties
  const wanted = await inputsOf({ timeout: 7, tags: { team: 'a' } })
  expect(diffResponse(functionKind, known, wanted).getDiffsList()).toEqual([])
})

const pathOf = (what: string) => `/forkyard/v1/functions/${FunctionName}/${what}`
const changesOf = (before: Properties, inputs: Properties): Record<string, number> => {
  const found = [...diffResponse(functionKind, before, inputs).getDetaileddiffMap().getEntryList()]
  return Object.fromEntries(
    found.map(([path]) => [
      path,
      diffResponse(functionKind, before, inputs).getDetaileddiffMap().get(path)?.getKind() ?? -1,
    ]),
  )
}
const { ADD, DELETE, UPDATE } = proto.PropertyDiff.Kind

const there = async (what: string): Promise<unknown> => {
  try {
    return await (await signedFetch(target().connection, { path: pathOf(what) })).json()
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}
const update = async (before: Properties, given: Properties): Promise<Properties> => {
  const inputs = await inputsOf(given)
  return { ...inputs, ...(await functionKind.update(target(), FunctionName, before, inputs)) }
}
const refreshed = async (known: Properties): Promise<Properties> => {
  const found = await functionKind.read(target(), FunctionName, known)
  return withoutSecrets({ ...found?.inputs, ...found?.computed }) as Properties
}

describe('the edges of a function', () => {
  const api = { type: 'http', url: 'http://api.example.com', headers: { authorization: 'Bearer canary' } }
  const orders = { type: 'function', function: 'orders', qualifier: 'live' }
  const network = { rules: [{ action: 'allow', protocol: 'tcp', cidr: '192.0.2.1' }] }
  it('are made with it, changed in place as edges added and removed, and gone with it', async () => {
    let known: Properties = await create({ network, bindings: { api, orders } })
    expect(await there('bindings')).toMatchObject({
      bindings: { api: { target: 'http://api.example.com' }, orders: { target: 'orders:live' } },
    })
    expect(await there('network-policy')).toMatchObject({ policy: network })
    const wanted = {
      network,
      bindings: { orders: { ...orders, qualifier: 'next' }, lan: { type: 'subnet', cidrs: ['10.1.0.0/16'] } },
    }
    expect(changesOf(known, await inputsOf(wanted))).toEqual({
      'bindings.api': DELETE,
      'bindings.lan': ADD,
      'bindings.orders': UPDATE,
    })
    known = await update(known, wanted)
    expect(await there('bindings')).toMatchObject({ bindings: { orders: { target: 'orders:next' }, lan: {} } })
    expect(changesOf(await refreshed(known), await inputsOf(wanted))).toEqual({})
    known = await update(known, {})
    expect([await there('bindings'), await there('network-policy')]).toEqual([undefined, undefined])
    expect(changesOf(await refreshed(known), await inputsOf())).toEqual({})
    await update(known, { bindings: { api } })
    await functionKind.remove(target(), FunctionName, known)
    expect(await there('bindings')).toBeUndefined()
  })

  it('keep credentials as secrets, and tell what a preview does not know yet', async () => {
    const { inputs, failures } = await check({ bindings: { api, orders: { ...orders, function: unknownValue } } })
    expect(failures).toEqual([])
    const bindings = inputs['bindings'] as Record<string, Properties>
    expect([
      isSecret(bindings['api']?.['headers']),
      bindings['api']?.['url'],
      bindings['orders']?.['function'],
    ]).toEqual([true, api.url, unknownValue])
  })

  it('that somebody else changed are found by a refresh, credentials too', async () => {
    const known = await create({ bindings: { api, orders } })
    expect(changesOf(await refreshed(known), await inputsOf({ bindings: { api, orders } }))).toEqual({})
    const strange = { bindings: { api: { ...api, headers: { authorization: 'other' } }, orders } }
    await signedFetch(target().connection, { method: 'PUT', path: pathOf('bindings'), body: strange })
    await signedFetch(target().connection, { method: 'PUT', path: pathOf('network-policy'), body: network })
    const now = await refreshed(known)
    expect(JSON.stringify(now)).not.toContain('other')
    const wanted = await inputsOf({ bindings: { api, orders } })
    expect(changesOf(now, wanted)).toEqual({ 'bindings.api': UPDATE, network: DELETE })
    const after = { ...wanted, ...(await functionKind.update(target(), FunctionName, now, wanted)) }
    expect(changesOf(await refreshed(after), wanted)).toEqual({})
    expect(await there('network-policy')).toBeUndefined()
  })

  it('stand in the project file as well, with variables; the program’s win', async () => {
    const file = { bindings: { api: { ...api, headers: { authorization: 'Bearer ${TOKEN_OF_TEST}' } }, orders } }
    writeFileSync(join(code, 'forkyard.json'), JSON.stringify(file))
    try {
      expect((await check()).failures).toEqual([
        { property: 'code', reason: 'bindings: the variable TOKEN_OF_TEST is not set' },
      ])
      vi.stubEnv('TOKEN_OF_TEST', 'from outside')
      const mine = { ...orders, function: 'mine' }
      expect(await inputsOf({ bindings: { orders: mine } })).toMatchObject({
        bindings: { api: { headers: { authorization: 'Bearer from outside' } }, orders: { function: 'mine' } },
      })
    } finally {
      vi.unstubAllEnvs()
      rmSync(join(code, 'forkyard.json'))
    }
  })

  it.each<[string, Properties]>([
    ['a kind that is none', { bindings: { a: { type: 'ftp' } } }],
    ['a name that is none', { bindings: { A_: orders } }],
    ['a rule that is none', { network: { rules: [{ action: 'maybe', protocol: 'tcp', cidr: '192.0.2.1' }] } }],
  ])('with %s are refused before anything is done', async (_what, given) => {
    expect((await check(given)).failures.length).toBeGreaterThan(0)
  })
})

it.each<[string, Properties, string]>([
  ['no code', { code: '/nowhere/at/all' }, 'code'],
  ['too little memory', { memory: 1 }, 'memory'],
  ['a variable that is none', { environment: { '1a': 'x' } }, 'environment'],
  ['an unknown property', { memori: 128 }, 'memori'],
  ['a tag that is a property', { tags: { 'forkyard:fork': 'true' } }, 'tags'],
  ['a name that is none', { name: 'a b' }, 'name'],
])('%s is refused before anything is done', async (_what, given, property) => {
  expect((await check(given)).failures.map((failure) => failure.property)[0]).toContain(property)
})

it('secrets are known by their names; what a preview does not know is not checked', async () => {
  const { inputs, failures } = await check({ memory: unknownValue, environment: { API_KEY: 'k', LEVEL: 'info' } })
  expect(failures).toEqual([])
  const { API_KEY, LEVEL } = inputs['environment'] as Properties
  expect([isSecret(API_KEY), LEVEL]).toEqual([true, 'info'])
})
