import type { Command } from 'commander'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { findConnection, type Connection } from '../connection.ts'
import { parseDuration } from '../duration.ts'
import { signedFetch } from '../signed-fetch.ts'
import { note, print, table } from '../terminal.ts'
import { principalsPath, tenantOption, tenantQuery } from './principals.ts'

const keyMembers = {
  accessKeyId: Type.String(),
  status: Type.String(),
  createdAt: Type.String(),
  expiresAt: Type.Optional(Type.String()),
}
const Key = Type.Object(keyMembers)
type Key = Static<typeof Key>
const Keys = Type.Object({ keys: Type.Array(Key) })
const NewKey = Type.Object({ ...keyMembers, secretAccessKey: Type.String() })

interface Flags {
  tenant?: string
  expires?: number
  grace?: number
  json?: boolean
}

const pathOf = (principal: string, accessKeyId = ''): string =>
  `${principalsPath}/${principal}/keys${accessKeyId ? `/${accessKeyId}` : ''}`

const inFrom = (ms: number): string => new Date(Date.now() + ms).toISOString()

const createKey = async (connection: Connection, principal: string, flags: Flags): Promise<Static<typeof NewKey>> => {
  const body = flags.expires === undefined ? {} : { expiresAt: inFrom(flags.expires) }
  const request = { method: 'POST', path: pathOf(principal), query: tenantQuery(flags), body }
  return Value.Parse(NewKey, await (await signedFetch(connection, request)).json())
}

const keysOf = async (connection: Connection, principal: string, flags: Flags): Promise<Key[]> => {
  const reply = await signedFetch(connection, { path: pathOf(principal), query: tenantQuery(flags) })
  return Value.Parse(Keys, await reply.json()).keys
}

const changeKey = (connection: Connection, principal: string, id: string, flags: Flags, body: object) =>
  signedFetch(connection, { method: 'PUT', path: pathOf(principal, id), query: tenantQuery(flags), body })

/** As a shell's `eval` takes it. */
const showNew = (key: Static<typeof NewKey>, json: boolean | undefined): void => {
  if (json) return print(JSON.stringify(key))
  print(`export AWS_ACCESS_KEY_ID='${key.accessKeyId}'\nexport AWS_SECRET_ACCESS_KEY='${key.secretAccessKey}'`)
  note('the secret is not shown again')
}

export const addKeys = (program: Command): void => {
  const keys = program.command('keys').description('access keys of a principal: issue, rotate, revoke')
  keys
    .command('list')
    .description('list the keys of a principal')
    .argument('<principal>', 'name of the principal')
    .option(...tenantOption)
    .option('--json', 'print as JSON')
    .action(async (principal: string, flags: Flags) => {
      const found = await keysOf(findConnection(process.env), principal, flags)
      if (flags.json) return print(JSON.stringify(found))
      const rows = found.map((key) => [key.accessKeyId, key.status, key.createdAt, key.expiresAt ?? ''])
      print(table(['ACCESS KEY', 'STATUS', 'CREATED', 'EXPIRES'], rows))
    })
  keys
    .command('create')
    .description('issue a key; its secret is shown this once')
    .argument('<principal>', 'name of the principal')
    .option(...tenantOption)
    .option('--expires <duration>', 'it is refused after so long, as 12h, 30d', parseDuration)
    .option('--json', 'print as JSON')
    .action(async (principal: string, flags: Flags) =>
      showNew(await createKey(findConnection(process.env), principal, flags), flags.json),
    )
  keys
    .command('rotate')
    .description('issue a key, and let all others of the principal end')
    .argument('<principal>', 'name of the principal')
    .option(...tenantOption)
    .option('--grace <duration>', 'how long the others still work', parseDuration, 0)
    .option('--expires <duration>', 'the new one is refused after so long', parseDuration)
    .option('--json', 'print as JSON')
    .action(async (principal: string, flags: Flags) => {
      const connection = findConnection(process.env)
      const before = await keysOf(connection, principal, flags)
      const created = await createKey(connection, principal, flags)
      const end = inFrom(flags.grace ?? 0)
      // The new one is shown first: should ending the others fail, it is not lost.
      showNew(created, flags.json)
      const longer = before.filter(({ status, expiresAt }) => status === 'Active' && (expiresAt ?? '9') > end)
      for (const { accessKeyId } of longer)
        await changeKey(connection, principal, accessKeyId, flags, { expiresAt: end })
      note(`${longer.length} other ${longer.length === 1 ? 'key ends' : 'keys end'} at ${end}`)
    })
  for (const [name, status] of [
    ['disable', 'Inactive'],
    ['enable', 'Active'],
  ] as const)
    keys
      .command(name)
      .description(status === 'Active' ? 'turn a key on again' : 'turn a key off, so that it can be turned on again')
      .argument('<principal>', 'name of the principal')
      .argument('<key>', 'access key id')
      .option(...tenantOption)
      .action(async (principal: string, id: string, flags: Flags) => {
        await changeKey(findConnection(process.env), principal, id, flags, { status })
        note(`${id} is ${status.toLowerCase()}`)
      })
  keys
    .command('revoke')
    .description('take a key away for good')
    .argument('<principal>', 'name of the principal')
    .argument('<key>', 'access key id')
    .option(...tenantOption)
    .action(async (principal: string, id: string, flags: Flags) => {
      const request = { method: 'DELETE', path: pathOf(principal, id), query: tenantQuery(flags) }
      await signedFetch(findConnection(process.env), request)
      note(`revoked ${id}`)
    })
}
