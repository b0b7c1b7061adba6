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
import { afterAll, beforeEach, expect, it } from 'vitest'
import { client, FunctionName, useControlPlane } from '../gateway/testing/control-plane.ts'
import { functionKind } from './function-kind.ts'
import { isSecret, unknownValue, withoutSecrets, type Properties } from './property-values.ts'
import { diffResponse } from './provider-service.ts'
import { checkInputs } from './resource-kind.ts'

useControlPlane()

const code = mkdtempSync(join(tmpdir(), 'forkyard-function-'))
afterAll(() => rmSync(code, { recursive: true, force: true }))
beforeEach(() => writeFileSync(join(code, 'index.ts'), 'export const handler = async () => 1'))

const urn = 'urn:pulumi:test::unit::forkyard:index:Function::greet'
const target = () => ({ client, urn })
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
  const other = { client, urn: `${urn}-of-another-stack` }
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
