/** Role x operation x own and other tenant, over HTTP, for every operation that the gateway has. */
import { CreateFunctionCommand } from '@aws-sdk/client-lambda'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { roles, type Role } from '../../contracts/access.ts'
import { accountIdOf } from '../../contracts/function.ts'
import { operationsOf } from '../testing/conformance.ts'
import { account, region, roleArn, startGateway, zipOf, type TestGateway } from '../testing/gateway.ts'
import { signHeaders } from '../testing/signed-head.ts'
import { operationTable, rowOf, urlOperation } from './operation-table.ts'
import { withStatement } from './policy.ts'

const aboutAccess = /Principal|AccessKey|ListTenants/
const aboutNodes = /^(Cordon|Drain|Uncordon)Node$|JoinToken$|JoinedNodes?$/

/** What a role is for, in words of its own: nothing of this is taken from the table. */
const mayDo: Readonly<Record<Role, (id: string) => boolean>> = {
  viewer: (id) =>
    /^(Get|List|Explain|Download)/.test(id) &&
    !aboutAccess.test(id) &&
    !aboutNodes.test(id) &&
    id !== 'ListDeadLetters',
  invoker: (id) => id.startsWith('Invoke') || id === 'GetCaller',
  deployer: (id) => !aboutAccess.test(id) && !aboutNodes.test(id),
  admin: (id) => id !== 'ListTenants' && !aboutNodes.test(id),
  operator: (id) => aboutAccess.test(id) || aboutNodes.test(id) || id === 'GetCaller',
}

type Credentials = Pick<typeof account, 'accessKeyId' | 'secretAccessKey'>

let gateway: TestGateway
const keys = new Map<string, Credentials>()
const keyOf = (tenant: string, role: Role): Credentials => {
  const key = keys.get(`${tenant} ${role}`)
  if (!key) throw new Error(`${tenant} has no ${role}`)
  return key
}

beforeEach(async () => {
  gateway = await startGateway()
  const { access } = gateway.deps
  for (const tenant of ['default', 'two'])
    for (const role of roles) {
      await access.putPrincipal(tenant, `a-${role}`, [role])
      const { record, secretAccessKey } = await access.createKey(tenant, `a-${role}`, undefined)
      keys.set(`${tenant} ${role}`, { accessKeyId: record.accessKeyId, secretAccessKey })
    }
})
afterEach(async () => {
  expect(gateway.problems).toEqual([])
  await gateway.close()
})

/** Operations change it, so it is made for each. */
const bringFunction = async (): Promise<void> => {
  const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
  const command = { FunctionName: 'f', Role: roleArn, Runtime: 'nodejs24.x', Handler: 'index.handler', Code } as const
  await gateway
    .client()
    .send(new CreateFunctionCommand(command))
    .catch(() => undefined)
}

const openTo = (principal: string) =>
  gateway.deps.registry.update('default', 'f', (record) =>
    withStatement(record, '$LATEST', { sid: 'open', action: '*', principal }, undefined, region),
  )

interface Asked {
  readonly functionName?: string
  readonly query?: string
}

/** Was it refused for who asks? Anything else, also an error further on, means that the door was open. */
const isDenied = async (
  one: ReturnType<typeof operationsOf>[number],
  credentials: Credentials,
  { functionName = 'f', query = '' }: Asked = {},
): Promise<boolean> => {
  const arn = `arn:aws:lambda:${region}:${accountIdOf('default')}:function:f`
  const names: Record<string, string> = { FunctionName: functionName, Resource: arn, Principal: 'nobody' }
  const path = one.path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(names[name] ?? 'x'))
  // Where the tenant is looked at after the body, that has to fit.
  const body = one.operationId === 'PutPrincipal' ? '{"roles":[]}' : one.requestBody ? '{}' : ''
  const target = path + query
  const { host: _host, ...headers } = await signHeaders(gateway.port, one.method, target, body, { credentials })
  const reply = await fetch(gateway.url + target, { method: one.method, headers, ...(body ? { body } : {}) })
  const text = await reply.text()
  if (reply.status !== 403) return false
  expect(reply.headers.get('x-amzn-errortype'), text).toBe('AccessDeniedException')
  return true
}

const operations = () => operationsOf(gateway.app)

const deviations = async (
  tenant: string,
  expected: (role: Role, id: string) => boolean,
  asked: Asked = {},
): Promise<string[]> => {
  const wrong: string[] = []
  for (const one of operations())
    for (const role of roles) {
      await bringFunction()
      const allowed = !(await isDenied(one, keyOf(tenant, role), asked))
      if (allowed !== expected(role, one.operationId))
        wrong.push(`${role} of ${tenant}: ${one.operationId} is ${allowed ? 'allowed' : 'denied'}`)
    }
  return wrong
}

const otherArn = `arn:aws:lambda:${region}:${accountIdOf('default')}:function:f`
const takesFunction = (id: string) =>
  operations().some(({ operationId, path }) => operationId === id && /\{(FunctionName|Resource)\}/.test(path))

const atHomeAlone = (role: Role, id: string): boolean => !takesFunction(id) && mayDo[role](id)

describe('each role', () => {
  it('does in its own tenant what it is for, and nothing else', async () => {
    expect(await deviations('default', (role, id) => mayDo[role](id))).toEqual([])
  }, 60_000)

  it('does nothing with functions of another tenant that have not let it in', async () => {
    expect(await deviations('two', atHomeAlone, { functionName: otherArn })).toEqual([])
  }, 60_000)

  it('does with a function of another tenant that lets it in what it may do at home, and only what Lambda knows', async () => {
    const wrong: string[] = []
    for (const one of operations().filter(({ operationId }) => takesFunction(operationId)))
      for (const role of roles) {
        await bringFunction()
        await openTo(accountIdOf('two')).catch(() => undefined)
        const allowed = !(await isDenied(one, keyOf('two', role), { functionName: otherArn }))
        const { action } = rowOf(one.operationId)
        if (allowed !== (mayDo[role](one.operationId) && action.startsWith('lambda:')))
          wrong.push(`${role}: ${one.operationId} is ${allowed ? 'allowed' : 'denied'}`)
      }
    expect(wrong).toEqual([])
  }, 60_000)

  it('keeps principals of another tenant only as an operator', async () => {
    const wrong: string[] = []
    for (const one of operations().filter(({ operationId }) => aboutAccess.test(operationId)))
      for (const role of roles) {
        const allowed = !(await isDenied(one, keyOf('two', role), { query: '?tenant=default' }))
        if (allowed !== (role === 'operator')) wrong.push(`${role}: ${one.operationId}`)
      }
    expect(wrong).toEqual([])
  })
})

it('negative control: with every role given to everybody, the matrix sees it', async () => {
  for (const role of roles) await gateway.deps.access.putPrincipal('default', `a-${role}`, roles)
  const wrong = await deviations('default', (role, id) => mayDo[role](id))
  expect(wrong).toContain('viewer of default: CreateFunction is allowed')
  expect(wrong).toContain('deployer of default: CreateAccessKey is allowed')
}, 60_000)

describe('the table', () => {
  it('has a row for every operation, and no others', () => {
    const ids = operations().map(({ operationId }) => operationId)
    expect([...operationTable.keys()].toSorted()).toEqual([...ids, urlOperation].toSorted())
  })

  it('keeps a gateway with an operation that it does not know from starting', () => {
    expect(() => rowOf('Unheard')).toThrow('no row')
  })
})
