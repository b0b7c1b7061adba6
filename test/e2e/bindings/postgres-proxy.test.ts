import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { promisify } from 'node:util'
import { Client, type ClientConfig } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPostgres, type TestPostgres } from '../../support/postgres.ts'
import type { PostgresBinding } from '../../../services/contracts/bindings.ts'
import { proxyPostgres } from '../../../services/node-agent/bindings/postgres-proxy.ts'
import { Reach } from '../../../services/node-agent/bindings/reach.ts'

let server: TestPostgres
let proxy: Server
let port: number
let binding: PostgresBinding
let open = 0
const reach = new Reach(() => [])

beforeAll(async () => {
  server = await startPostgres()
  const { host, user, password, database } = server
  binding = { type: 'postgresql', host, port: server.port, user, password, database, tls: 'disable' }
  proxy = createServer((socket) => {
    open++
    void proxyPostgres({ client: socket, name: 'db', binding, reach, used: () => undefined }).finally(() => open--)
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  port = (proxy.address() as AddressInfo).port
}, 60_000)
afterAll(async () => {
  proxy.close()
  await server.stop()
})

const withClient = async <T>(use: (client: Client) => Promise<T>, more: ClientConfig = {}): Promise<T> => {
  const client = new Client({ host: '127.0.0.1', port, user: 'anybody', database: 'anything', ...more })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

/** Sessions of the server that are so. */
const activity = (what: string): Promise<number> =>
  withClient(async (client) => {
    const { rows } = await client.query<{ n: number }>(
      `select count(*)::int n from pg_stat_activity where ${what}${what.startsWith('query') ? ' and pid <> pg_backend_pid()' : ''}`,
    )
    return rows[0]?.n ?? 0
  })

describe('a function’s connection to a bound PostgreSQL server', () => {
  it('needs no password, and is the binding’s user in the binding’s database, whatever it asks for', async () => {
    const { rows } = await withClient((client) => client.query('select current_user, current_database()'))
    expect(rows).toEqual([{ current_user: server.user, current_database: server.database }])
  })

  it('has the settings that the client asked for', async () => {
    const { rows } = await withClient(
      (client) => client.query("select current_setting('application_name') a, current_setting('work_mem') w"),
      { application_name: 'of a function', options: '-c work_mem=1MB' },
    )
    expect(rows).toEqual([{ a: 'of a function', w: '1MB' }])
  })

  it('carries transactions, parameters, errors and a megabyte each way', async () => {
    await withClient(async (client) => {
      await client.query('begin')
      await client.query('create temporary table t (bytes bytea)')
      const bytes = Buffer.alloc(1024 * 1024, 'x')
      await client.query('insert into t values ($1)', [bytes])
      await expect(client.query('select * from nowhere')).rejects.toMatchObject({ code: '42P01' })
      await client.query('rollback')
      const { rows } = await client.query('select $1::bytea as bytes', [bytes])
      expect(bytes.equals((rows[0] as { bytes: Buffer }).bytes)).toBe(true)
    })
  })

  it('is taken by psql, which asks for encryption first, with COPY and a notice', async () => {
    const script = "do $$ begin raise notice 'hello'; end $$; copy (select generate_series(1, 3)) to stdout"
    const environment = { ...process.env, PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'x', PGSSLMODE: 'prefer' }
    const { stdout, stderr } = await promisify(execFile)('psql', ['-X', '-At', '-c', script], { env: environment })
    expect(stdout).toContain('1\n2\n3\n')
    expect(stderr).toContain('hello')
  })

  it('can be cancelled from another connection', async () => {
    await withClient(async (client) => {
      const query = client.query('select pg_sleep(60)')
      // A server that does nothing yet has nothing to cancel.
      await expect.poll(() => activity("query like '%pg_sleep(60)' and state = 'active'"), { timeout: 5000 }).toBe(1)
      const { processID, secretKey } = client as unknown as { processID: number; secretKey: number }
      const request = Buffer.alloc(16)
      for (const [at, value] of [16, 80_877_102, processID, secretKey].entries()) request.writeInt32BE(value, at * 4)
      const socket = connect(port, '127.0.0.1')
      const closed = once(socket.resume(), 'close')
      socket.write(request)
      await expect(query).rejects.toMatchObject({ code: '57014' })
      await closed
    })
  })

  it('is told what is wrong with the binding, and never the password', async () => {
    const good = binding
    try {
      binding = { ...good, password: 'a wrong password' }
      await expect(withClient(async () => {})).rejects.toMatchObject({ code: '28P01' })
      binding = { ...good, port: 1 }
      const refused: unknown = await withClient(async () => {}).catch((error: unknown) => error)
      expect(refused).toMatchObject({ code: '08006', message: expect.stringContaining('binding db') })
      binding = { ...good, tls: 'verify-full' }
      await expect(withClient(async () => {})).rejects.toThrow(/does not support SSL/)
      expect(String(refused)).not.toContain(good.password)
    } finally {
      binding = good
    }
  })

  it.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['replication', startup({ user: 'x', replication: 'true' })],
    ['an opening that is too long', Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0])],
  ])('is refused with a protocol violation when it is %s', async (_what, bytes) => {
    const socket = connect(port, '127.0.0.1')
    socket.write(bytes)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toContain('C08P01')
    await once(socket.resume(), 'close')
  })

  it('leaves no connection behind, also when the client dies in the middle', async () => {
    const socket = connect(port, '127.0.0.1')
    socket.write(startup({ user: 'x' }))
    await once(socket, 'data')
    socket.destroy()
    await expect.poll(() => open, { timeout: 5000 }).toBe(0)
    await expect.poll(() => activity("backend_type = 'client backend'"), { timeout: 5000 }).toBe(1)
  })
})

function startup(parameters: Record<string, string>): Buffer {
  const fields = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`)
  const body = Buffer.from(`${fields.join('')}\0`)
  const head = Buffer.alloc(8)
  head.writeInt32BE(body.length + 8, 0)
  head.writeInt32BE(3 << 16, 4)
  return Buffer.concat([head, body])
}
