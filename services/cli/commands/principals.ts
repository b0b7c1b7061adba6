import type { Command } from 'commander'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { roles } from '../../contracts/access.ts'
import { CliError } from '../cli-error.ts'
import { findConnection } from '../connection.ts'
import { signedFetch } from '../signed-fetch.ts'
import { note, print, table } from '../terminal.ts'

const PrincipalView = Type.Object({
  tenant: Type.String(),
  name: Type.String(),
  arn: Type.String(),
  roles: Type.Array(Type.String()),
})
const Principals = Type.Object({ principals: Type.Array(PrincipalView) })
const CallerView = Type.Object({
  tenant: Type.String(),
  principal: Type.String(),
  arn: Type.String(),
  roles: Type.Array(Type.String()),
})

export const principalsPath = '/forkyard/v1/principals'

/** For every call about principals: operators may name another tenant. */
export const tenantQuery = ({ tenant }: { readonly tenant?: string }): Record<string, string> =>
  tenant === undefined ? {} : { tenant }

export const tenantOption = ['--tenant <tenant>', 'another tenant than your own (for operators)'] as const

interface Flags {
  tenant?: string
  role?: string[]
  json?: boolean
}

const gatherRole = (role: string, before: string[] = []): string[] => {
  if (!roles.some((known) => known === role)) throw new CliError(`--role ${role}: it is one of ${roles.join(', ')}`)
  return [...before, role]
}

export const addPrincipals = (program: Command): void => {
  const principals = program.command('principals').description('who may call, and what: principals and their roles')
  principals
    .command('list')
    .description('list the principals of your tenant')
    .option(...tenantOption)
    .option('--json', 'print as JSON')
    .action(async (flags: Flags) => {
      const request = { path: principalsPath, query: tenantQuery(flags) }
      const found = Value.Parse(
        Principals,
        await (await signedFetch(findConnection(process.env), request)).json(),
      ).principals
      if (flags.json) return print(JSON.stringify(found))
      print(table(['NAME', 'TENANT', 'ROLES', 'ARN'], found.map(rowOf)))
    })
  principals
    .command('put')
    .description('make a principal, or give it other roles')
    .argument('<name>', 'name of the principal')
    .option(...tenantOption)
    .option('--role <role>', `role (repeatable): ${roles.join(', ')}`, gatherRole)
    .option('--json', 'print as JSON')
    .action(async (name: string, flags: Flags) => {
      const path = `${principalsPath}/${name}`
      const request = { method: 'PUT', path, query: tenantQuery(flags), body: { roles: flags.role ?? [] } }
      const put = Value.Parse(PrincipalView, await (await signedFetch(findConnection(process.env), request)).json())
      if (flags.json) return print(JSON.stringify(put))
      print(put.arn)
      note(`${put.name}: ${put.roles.join(', ') || 'no roles'}`)
    })
  principals
    .command('rm')
    .description('delete a principal with its keys')
    .argument('<name>', 'name of the principal')
    .option(...tenantOption)
    .action(async (name: string, flags: Flags) => {
      const path = `${principalsPath}/${name}`
      await signedFetch(findConnection(process.env), { method: 'DELETE', path, query: tenantQuery(flags) })
      note(`deleted ${name} and its keys`)
    })
}

const rowOf = ({ name, tenant, roles: granted, arn }: Static<typeof PrincipalView>): string[] => [
  name,
  tenant,
  granted.join(', '),
  arn,
]

export const addWhoami = (program: Command): void => {
  program
    .command('whoami')
    .description('show whose key you call with')
    .option('--json', 'print as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const reply = await signedFetch(findConnection(process.env), { path: '/forkyard/v1/caller' })
      const caller = Value.Parse(CallerView, await reply.json())
      print(json ? JSON.stringify(caller) : `${caller.arn}  tenant ${caller.tenant}  ${caller.roles.join(', ')}`)
    })
}
