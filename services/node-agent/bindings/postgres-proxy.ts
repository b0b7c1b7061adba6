/**
 * One connection of a function to a bound PostgreSQL server: the function's client is let in without a password, and a session is opened
 * towards the server with the binding's (SCRAM, by the client that its users have). From then on bytes go through as they are.
 */
import { once, type EventEmitter } from 'node:events'
import { isIP, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { ConnectionOptions } from 'node:tls'
import { Client, Connection, DatabaseError } from 'pg'
import { postgresPort, type PostgresBinding } from '../../contracts/bindings.ts'
import {
  authenticationOk,
  backendKeyData,
  fatal,
  negotiateVersion,
  parameterStatus,
  ProtocolError,
  readOpening,
  readyForQuery,
  type Opening,
} from './postgres-messages.ts'
import { UnreachableError, type Reach } from './reach.ts'

/** The client's whole opening; the server's answer to it. */
const openingMs = 10_000

/** One connection of a function. */
export interface BoundSession {
  readonly client: Socket
  /** Of the binding, as the function knows it. */
  readonly name: string
  readonly binding: PostgresBinding
  readonly reach: Reach
  /** The server has let it in, or it may not go there. */
  readonly used: (verdict: 'used' | 'refused') => void
}

/** Never rejects; both sides are closed when it resolves. */
export const proxyPostgres = async (session: BoundSession): Promise<void> => {
  const { client, binding, reach } = session
  client.setNoDelay(true)
  client.on('error', () => undefined)
  const timer = setTimeout(() => client.destroy(), openingMs)
  try {
    const { opening, rest } = await readFirst(client)
    clearTimeout(timer)
    if (opening.kind === 'cancel') await cancel(reach, binding, opening)
    else await openSession(session, opening, rest)
  } catch (error) {
    if (error instanceof ProtocolError) client.end(fatal('08P01', error.message))
  } finally {
    clearTimeout(timer)
    if (!client.writableEnded) client.end()
    client.destroySoon()
  }
}

type FirstMessage = Exclude<Opening, { kind: 'encrypt' }>

/** Encryption inside the node is refused, as a server may; clients then go on without. */
const readFirst = async (client: Socket): Promise<{ opening: FirstMessage; rest: Buffer }> => {
  let seen: Buffer = Buffer.alloc(0)
  for (;;) {
    const read = readOpening(seen)
    if (!read) {
      const part = client.read() as Buffer | null
      if (part) seen = Buffer.concat([seen, part])
      else if (client.readableEnded || client.destroyed) throw new Error('the client went away')
      else await Promise.race([once(client, 'readable'), once(client, 'close')])
      continue
    }
    seen = seen.subarray(read.bytes)
    if (read.opening.kind !== 'encrypt') return { opening: read.opening, rest: seen }
    client.write('N')
  }
}

interface Session {
  readonly stream: Socket
  readonly greeting: Buffer
}

const openSession = async (
  { client, name, binding, reach, used }: BoundSession,
  { minor, parameters }: Extract<Opening, { kind: 'startup' }>,
  rest: Buffer,
): Promise<void> => {
  const unknown = Object.keys(parameters).filter((option) => option.startsWith('_pq_.'))
  if (minor > 0 || unknown.length > 0) client.write(negotiateVersion(unknown))
  let session: Session
  try {
    session = await connect(reach, binding, parameters)
  } catch (error) {
    if (error instanceof ProtocolError) throw error
    // What the server says is the function's to know: it names the user at most, never the password.
    if (error instanceof UnreachableError) used('refused')
    const code = error instanceof DatabaseError ? (error.code ?? '08006') : '08006'
    const words = error instanceof Error ? error.message : String(error)
    client.end(fatal(code, `binding ${name}: ${words}`))
    return
  }
  const { stream, greeting } = session
  used('used')
  client.write(greeting)
  if (rest.length > 0) stream.write(rest)
  await Promise.allSettled([pipeline(client, stream), pipeline(stream, client)])
  stream.destroy()
}

/** Events and socket of the client's own connection, which has no other way to give it away. */
interface Inner {
  readonly stream: Socket
  on(event: 'parameterStatus', listener: (message: { parameterName: string; parameterValue: string }) => void): void
  on(event: 'backendKeyData', listener: (message: { processID: number; secretKey: number }) => void): void
  once(event: 'readyForQuery', listener: () => void): void
}

/** Resolves with a session that is ready, and nobody's but the caller's. @throws what the server or the network said. */
const connect = async (
  reach: Reach,
  binding: PostgresBinding,
  parameters: Readonly<Record<string, string>>,
): Promise<Session> => {
  const upstream = new Client({ ...(await targetOf(reach, binding)), ...settingsOf(parameters) })
  const { connection } = upstream as unknown as { readonly connection: Inner }
  const greeting: Buffer[] = [authenticationOk()]
  connection.on('parameterStatus', ({ parameterName, parameterValue }) =>
    greeting.push(parameterStatus(parameterName, parameterValue)),
  )
  connection.on('backendKeyData', ({ processID, secretKey }) => greeting.push(backendKeyData(processID, secretKey)))
  const taken = new Promise<Socket>((resolve) =>
    connection.once('readyForQuery', () => {
      const { stream } = connection
      // From the same turn on, its bytes are for the function's client.
      stream.removeAllListeners('data')
      stream.pause()
      resolve(stream)
    }),
  )
  // Its failures after this are the pipeline's to see.
  upstream.on('error', () => undefined)
  await upstream.connect()
  return { stream: await taken, greeting: Buffer.concat([...greeting, readyForQuery()]) }
}

/** The host's address as it was judged: it is not looked up again. @throws UnreachableError; what DNS says */
const targetOf = async (reach: Reach, binding: PostgresBinding) => {
  const { host, port = postgresPort, database, user, password, tls = 'verify-full', ca } = binding
  const trust: ConnectionOptions = {
    rejectUnauthorized: true,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca ? { ca } : {}),
  }
  return {
    host: await reach.addressOf(host, port),
    port,
    database,
    user,
    password,
    ssl: tls === 'disable' ? false : trust,
    connectionTimeoutMillis: openingMs,
  }
}

/** Whose session it is, is the binding's to say; everything else is the function's. */
const settingsOf = (parameters: Readonly<Record<string, string>>) => {
  const { user: _user, database: _database, application_name, client_encoding, options = '', ...others } = parameters
  if ('replication' in others) throw new ProtocolError('replication is not to be had through a binding')
  const given = Object.entries(others).filter(([setting]) => !setting.startsWith('_pq_.'))
  const all = [options, ...given.map(([setting, value]) => `-c ${setting}=${value.replaceAll(/[\\ ]/g, '\\$&')}`)]
  return {
    options: all.filter(Boolean).join(' '),
    ...(application_name ? { application_name } : {}),
    ...(client_encoding ? { client_encoding } : {}),
  }
}

/** What the types of the package leave out of its class `Connection`. */
interface BareConnection extends EventEmitter {
  connect(port: number, host: string): void
  requestSsl(): void
  cancel(processId: number, secretKey: number): void
}
const BareConnection = Connection as unknown as new (options: { readonly ssl: unknown }) => BareConnection

/** A connection of its own, which the server answers by closing it. */
const cancel = async (
  reach: Reach,
  binding: PostgresBinding,
  { processId, secretKey }: Extract<Opening, { kind: 'cancel' }>,
) => {
  const { host, port, ssl } = await targetOf(reach, binding)
  const connection = new BareConnection({ ssl })
  const closed = once(connection, 'end', { signal: AbortSignal.timeout(openingMs) })
  connection.once(ssl ? 'sslconnect' : 'connect', () => connection.cancel(processId, secretKey))
  if (ssl) connection.once('connect', () => connection.requestSsl())
  connection.connect(port, host)
  await closed
}
