/** Principals of a tenant and their access keys. An operator names the tenant; everybody else has its own. */
import { Type } from 'typebox'
import {
  AccessName,
  keyStatuses,
  roles,
  type AccessKeyRecord,
  type Principal,
  type Role,
} from '../../contracts/access.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { accountIdOf } from '../../contracts/function.ts'
import { principalArn } from '../access/policy.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Caller } from './authenticate.ts'
import { operation, type AnyOperation } from './operation.ts'

const text = Type.String()
const Roles = Type.Array(Type.Enum(roles), { uniqueItems: true, maxItems: roles.length })
const OfTenant = Type.Object({ tenant: Type.Optional(AccessName) })
const Named = Type.Object({ Principal: AccessName })
const NamedKey = Type.Object({ Principal: AccessName, AccessKeyId: Type.String({ minLength: 1, maxLength: 128 }) })
const time = (description: string) =>
  Type.String({ maxLength: 32, pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,3})?Z$', description })

const PrincipalView = Type.Object({ tenant: text, name: text, arn: text, roles: Type.Array(text), createdAt: text })
const keyView = {
  accessKeyId: text,
  status: text,
  createdAt: text,
  expiresAt: Type.Optional(text),
}
const KeyView = Type.Object(keyView)

const viewOf = ({ tenant, name, roles: granted, createdAt }: Principal) => ({
  tenant,
  name,
  arn: principalArn(tenant, name),
  roles: granted,
  createdAt,
})

const keyViewOf = ({ accessKeyId, status, createdAt, expiresAt }: AccessKeyRecord) => ({
  accessKeyId,
  status,
  createdAt,
  ...(expiresAt === undefined ? {} : { expiresAt }),
})

const isOperator = ({ accessKey }: Caller): boolean => accessKey.roles.includes('operator')

/** @throws PlatformError FORBIDDEN */
const tenantFor = (caller: Caller, wanted: string | undefined): string => {
  if (wanted === undefined || wanted === caller.tenant) return caller.tenant
  if (isOperator(caller)) return wanted
  throw forbidden(caller, `principals of tenant ${wanted} are kept by an operator`)
}

const forbidden = ({ accessKey }: Caller, reason: string): PlatformError =>
  new PlatformError(
    'FORBIDDEN',
    `User: ${principalArn(accessKey.tenant, accessKey.principal)} is not authorized: ${reason}`,
  )

/** Whoever is no operator neither makes one nor acts as one through a key of its own making. @throws PlatformError FORBIDDEN */
const guardOperators = (caller: Caller, concerned: readonly Role[]): void => {
  if (concerned.includes('operator') && !isOperator(caller))
    throw forbidden(caller, 'the role operator is kept by operators')
}

/** @throws PlatformError INVALID_REQUEST for what is no time */
const checkedTime = (given: string | null | undefined): string | null | undefined => {
  if (given === undefined || given === null) return given
  const at = new Date(given)
  if (Number.isNaN(at.getTime())) throw new PlatformError('INVALID_REQUEST', `expiresAt: '${given}' is no time`)
  return at.toISOString()
}

export const principalOperations = ({ access }: Pick<GatewayDeps, 'access'>): AnyOperation[] => {
  const base = '/forkyard/v1/principals'
  return [
    operation({
      id: 'GetCaller',
      summary: 'Who the key of this request belongs to',
      method: 'GET',
      url: '/forkyard/v1/caller',
      status: 200,
      reply: Type.Object({ tenant: text, account: text, principal: text, arn: text, roles: Type.Array(text) }),
      handle: async ({ caller: { accessKey } }) => {
        const { tenant, principal, roles: granted } = accessKey
        return { tenant, account: accountIdOf(tenant), principal, arn: principalArn(tenant, principal), roles: granted }
      },
    }),
    operation({
      id: 'ListTenants',
      summary: 'Tenants that have a principal',
      method: 'GET',
      url: '/forkyard/v1/tenants',
      status: 200,
      reply: Type.Object({ tenants: Type.Array(Type.Object({ name: text, account: text })) }),
      handle: async () => ({ tenants: access.tenants().map((name) => ({ name, account: accountIdOf(name) })) }),
    }),
    operation({
      id: 'ListPrincipals',
      summary: 'Principals of a tenant',
      method: 'GET',
      url: base,
      query: OfTenant,
      status: 200,
      reply: Type.Object({ principals: Type.Array(PrincipalView) }),
      handle: async ({ caller, query }) => ({
        principals: access.principals(tenantFor(caller, query.tenant)).map(viewOf),
      }),
    }),
    operation({
      id: 'PutPrincipal',
      summary: 'Makes a principal, or gives it other roles; the first one of a tenant makes the tenant',
      method: 'PUT',
      url: `${base}/:Principal`,
      params: Named,
      query: OfTenant,
      body: Type.Object({ roles: Roles }),
      status: 200,
      reply: PrincipalView,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query, body }) => {
        const tenant = tenantFor(caller, query.tenant)
        const before = access.principals(tenant).find(({ name }) => name === params.Principal)
        guardOperators(caller, [...body.roles, ...(before?.roles ?? [])])
        return viewOf(await access.putPrincipal(tenant, params.Principal, body.roles))
      },
    }),
    operation({
      id: 'DeletePrincipal',
      summary: 'Deletes a principal with its keys',
      method: 'DELETE',
      url: `${base}/:Principal`,
      params: Named,
      query: OfTenant,
      status: 204,
      handle: async ({ caller, params, query }) => {
        const tenant = tenantFor(caller, query.tenant)
        guardOperators(caller, access.requirePrincipal(tenant, params.Principal).roles)
        await access.deletePrincipal(tenant, params.Principal)
      },
    }),
    operation({
      id: 'ListAccessKeys',
      summary: 'Access keys of a principal, without their secrets',
      method: 'GET',
      url: `${base}/:Principal/keys`,
      params: Named,
      query: OfTenant,
      status: 200,
      reply: Type.Object({ keys: Type.Array(KeyView) }),
      handle: async ({ caller, params, query }) => {
        const tenant = tenantFor(caller, query.tenant)
        access.requirePrincipal(tenant, params.Principal)
        return { keys: access.keysOf(tenant, params.Principal).map(keyViewOf) }
      },
    }),
    operation({
      id: 'CreateAccessKey',
      summary: 'A new access key; its secret is told this once',
      method: 'POST',
      url: `${base}/:Principal/keys`,
      params: Named,
      query: OfTenant,
      body: Type.Object({ expiresAt: Type.Optional(time('from then on it is refused; absent: never')) }),
      status: 201,
      reply: Type.Object({ ...keyView, secretAccessKey: text }),
      handle: async ({ caller, params, query, body }) => {
        const tenant = tenantFor(caller, query.tenant)
        guardOperators(caller, access.requirePrincipal(tenant, params.Principal).roles)
        const expiresAt = checkedTime(body.expiresAt) ?? undefined
        const { record, secretAccessKey } = await access.createKey(tenant, params.Principal, expiresAt)
        return { ...keyViewOf(record), secretAccessKey }
      },
    }),
    operation({
      id: 'UpdateAccessKey',
      summary: 'Turns a key off or on, or says when it ends',
      method: 'PUT',
      url: `${base}/:Principal/keys/:AccessKeyId`,
      params: NamedKey,
      query: OfTenant,
      body: Type.Object({
        status: Type.Optional(Type.Enum(keyStatuses)),
        expiresAt: Type.Optional(Type.Union([time('null: never'), Type.Null()])),
      }),
      status: 200,
      reply: KeyView,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query, body }) => {
        const tenant = tenantFor(caller, query.tenant)
        guardOperators(caller, access.requirePrincipal(tenant, params.Principal).roles)
        const change = { status: body.status, expiresAt: checkedTime(body.expiresAt) }
        return keyViewOf(await access.updateKey(tenant, params.Principal, params.AccessKeyId, change))
      },
    }),
    operation({
      id: 'DeleteAccessKey',
      summary: 'Revokes a key for good',
      method: 'DELETE',
      url: `${base}/:Principal/keys/:AccessKeyId`,
      params: NamedKey,
      query: OfTenant,
      status: 204,
      handle: async ({ caller, params, query }) => {
        const tenant = tenantFor(caller, query.tenant)
        guardOperators(caller, access.requirePrincipal(tenant, params.Principal).roles)
        await access.deleteKey(tenant, params.Principal, params.AccessKeyId)
      },
    }),
  ]
}
