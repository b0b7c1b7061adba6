/** The document is true: whatever it says may be sent gets an answer that it names, and never one that blames the platform. */
import {
  anything,
  assert,
  asyncProperty,
  constantFrom,
  integer,
  oneof,
  record,
  string,
  type Arbitrary,
} from 'fast-check'
import { CreateFunctionCommand } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { operationsOf, type DocumentedOperation } from './testing/conformance.ts'
import { roleArn, startGateway, zipOf, type TestGateway } from './testing/gateway.ts'
import { signHeaders } from './testing/signed-head.ts'

let gateway: TestGateway
let operations: ReturnType<typeof operationsOf>

beforeAll(async () => {
  gateway = await startGateway()
  operations = operationsOf(gateway.app)
})
beforeEach(async () => {
  const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
  await gateway
    .client()
    .send(
      new CreateFunctionCommand({
        FunctionName: 'f',
        Role: roleArn,
        Runtime: 'nodejs24.x',
        Handler: 'index.handler',
        Code,
        Publish: true,
      }),
    )
    .catch(() => undefined)
})
afterAll(() => gateway.close())

const encode = (text: string) =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
/** Lone surrogates cannot be sent at all. */
const wellFormed = string({ unit: 'grapheme', maxLength: 20 }).filter((text) => text.isWellFormed())
const texts = oneof(
  wellFormed,
  constantFrom(
    'f',
    'f:1',
    'f:$LATEST',
    '1',
    '$LATEST',
    'live',
    '0',
    '-1',
    '99999999999',
    '__proto__',
    'constructor',
    '../x',
    '.',
    '..',
    '\0',
    '*',
    '>',
  ),
)

interface Schema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
}

/** Mostly what the schema says, sometimes not. */
const valuesOf = (schema: Schema): Arbitrary<unknown> =>
  oneof({ weight: 4, arbitrary: fitting(schema) }, { weight: 1, arbitrary: anything({ maxDepth: 1 }) })
const fitting = (schema: Schema): Arbitrary<unknown> => {
  if (schema.enum) return constantFrom(...schema.enum)
  if (schema.anyOf) return oneof(...schema.anyOf.map(fitting))
  if (schema.type === 'object') {
    const members = Object.entries(schema.properties ?? {}).map(([name, each]) => [name, valuesOf(each)])
    return record(Object.fromEntries(members) as Record<string, Arbitrary<unknown>>, { requiredKeys: [] })
  }
  if (schema.type === 'array') return valuesOf(schema.items ?? {}).map((each) => [each])
  if (schema.type === 'integer') return integer({ min: -1, max: 20_000 })
  if (schema.type === 'boolean') return constantFrom(true, false)
  return texts
}

const jsonOf = (value: unknown): string =>
  JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? String(each) : each)) ?? ''

/** Objects may have no way to become text. */
const textOf = (value: unknown): string => (typeof value === 'string' ? value : jsonOf(value))

const requests = ({ parameters = [], requestBody }: DocumentedOperation) => {
  const named = (where: string) => parameters.filter((each) => each.in === where)
  const path = Object.fromEntries(
    named('path').map(({ name }) => [name, oneof({ weight: 3, arbitrary: constantFrom('f') }, texts)]),
  )
  const query = Object.fromEntries(
    named('query').map(({ name, schema }) => [name, oneof(valuesOf(schema).map(textOf), texts)]),
  )
  const body = Object.values(requestBody?.content ?? {})[0]?.schema
  return record({
    path: record(path),
    query: record(query, { requiredKeys: [] }),
    body: body ? oneof({ weight: 5, arbitrary: valuesOf(body).map(jsonOf) }, wellFormed) : constantFrom(''),
  })
}

const ids = [
  'CreateFunction', 'GetFunction', 'ListFunctions', 'DeleteFunction', 'UpdateFunctionCode', 'UpdateFunctionConfiguration',
  'GetFunctionConfiguration', 'PublishVersion', 'ListVersionsByFunction', 'CreateAlias', 'GetAlias', 'UpdateAlias', 'DeleteAlias',
  'ListAliases', 'CreateFunctionUrlConfig', 'GetFunctionUrlConfig', 'UpdateFunctionUrlConfig', 'DeleteFunctionUrlConfig',
  'ListFunctionUrlConfigs', 'PutFunctionEventInvokeConfig', 'UpdateFunctionEventInvokeConfig', 'GetFunctionEventInvokeConfig',
  'DeleteFunctionEventInvokeConfig', 'ListFunctionEventInvokeConfigs', 'ListTags', 'TagResource', 'UntagResource',
  'GetAccountSettings', 'GetPolicy', 'GetFunctionCodeSigningConfig', 'GetFunctionConcurrency', 'GetRuntimeManagementConfig',
  'GetFunctionRecursionConfig', 'Invoke', 'InvokeWithResponseStream', 'GetStatus', 'ExplainPlacement', 'GetLogs', 'ListDeadLetters',
  'RedriveDeadLetters', 'DownloadCode', 'AddPermission', 'RemovePermission', 'GetCaller', 'ListTenants', 'ListPrincipals',
  'PutPrincipal', 'DeletePrincipal', 'ListAccessKeys', 'CreateAccessKey', 'UpdateAccessKey', 'DeleteAccessKey',
  'PutNetworkPolicy', 'GetNetworkPolicy', 'DeleteNetworkPolicy', 'GetAudit', 'PutBindings', 'GetBindings', 'DeleteBindings',
  'CordonNode', 'DrainNode', 'UncordonNode', 'CreateJoinToken', 'ListJoinedNodes', 'RemoveJoinedNode',
  'PutFunctionConcurrency', 'DeleteFunctionConcurrency', 'PutProvisionedConcurrencyConfig', 'GetProvisionedConcurrencyConfig',
  'DeleteProvisionedConcurrencyConfig',
] // prettier-ignore

it('every operation is in the document', () => {
  expect(operations.map(({ operationId }) => operationId).toSorted()).toEqual(ids.toSorted())
})

describe('any request gets an answer that the document names', () => {
  it.each(ids)(
    '%s',
    async (id) => {
      const one = operations.find(({ operationId }) => operationId === id)
      if (!one) throw new Error(`${id} is not in the document`)
      await assert(
        asyncProperty(requests(one), async ({ path, query, body }) => {
          const filled = one.path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => encode(String(path[name])))
          const pairs = Object.entries(query).map(([name, value]) => `${encode(name)}=${encode(String(value))}`)
          const target = pairs.length > 0 ? `${filled}?${pairs.join('&')}` : filled
          // A path that is normalised on the way is another path.
          if (new URL(target, gateway.url).href !== gateway.url + target) return
          const { host: _host, ...headers } = await signHeaders(gateway.port, one.method, target, body)
          const reply = await fetch(gateway.url + target, {
            method: one.method,
            headers,
            ...(body === '' ? {} : { body }),
          })
          await reply.arrayBuffer()
          expect(reply.status, `${one.method} ${target} ${body}`).toBeLessThan(500)
          // What is no path of ours is said to be unknown.
          expect([...Object.keys(one.responses), '404']).toContain(String(reply.status))
        }),
        { numRuns: 60 },
      )
      expect(gateway.problems).toEqual([])
    },
    30_000,
  )
})
