/** A real PostgreSQL server, as Debian packages it, for the tests of bindings: on loopback, in a directory of its own, with SCRAM only. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { freePort } from '../../scripts/free-ports.ts'
import { postgresRoot } from '../../scripts/setup/postgres.ts'

export interface TestPostgres {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  stop(): Promise<void>
}

const [user, database] = ['postgres', 'postgres']

/** The newest that is installed. */
const binary = (name: string): string => {
  const [newest] = readdirSync(postgresRoot).toSorted((a, b) => Number(b) - Number(a))
  return join(postgresRoot, newest ?? '', 'bin', name)
}

const idOf = (flag: '-u' | '-g'): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))

/** @param host address to listen on @param settings of `postgresql.conf` */
export const startPostgres = async (
  host = '127.0.0.1',
  settings: Readonly<Record<string, string>> = {},
  password = 'a password: with spaces, and ünïcode',
): Promise<TestPostgres> => {
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-postgres-'))
  const owner = { uid: idOf('-u'), gid: idOf('-g') }
  chownSync(dir, owner.uid, owner.gid)
  const passwordFile = join(dir, 'password')
  writeFileSync(passwordFile, password, { mode: 0o644 })
  const data = join(dir, 'data')
  const scram = ['--auth-host', 'scram-sha-256', '--auth-local', 'scram-sha-256', '--pwfile', passwordFile]
  execFileSync(binary('initdb'), ['-D', data, '-U', user, '-E', 'UTF8', '--no-sync', ...scram], { ...owner, cwd: dir })
  // It listens on one address; whoever comes there needs the password.
  appendFileSync(join(data, 'pg_hba.conf'), 'host all all all scram-sha-256\n')
  const port = await freePort(host)
  const all = { listen_addresses: host, port: String(port), unix_socket_directories: dir, fsync: 'off', ...settings }
  const options = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const server = spawn(binary('postgres'), ['-D', data, ...options], { ...owner, cwd: dir, stdio: 'ignore' })
  const stop = async (): Promise<void> => {
    await end(server)
    rmSync(dir, { recursive: true, force: true })
  }
  const started = { host, port, user, password, database, stop }
  try {
    await answers(started)
    return started
  } catch (error) {
    await stop()
    throw error
  }
}

const end = async (server: ChildProcess): Promise<void> => {
  if (server.exitCode !== null) return
  const gone = once(server, 'exit')
  // Immediate shutdown: nothing of it is kept.
  server.kill('SIGQUIT')
  await gone
}

const answers = async (target: TestPostgres): Promise<void> => {
  for (let tries = 0; ; tries++) {
    const { host, port, user: name, password, database: of } = target
    const client = new Client({ host, port, user: name, password, database: of })
    try {
      await client.connect()
      return await client.end()
    } catch (error) {
      if (tries > 100) throw error
      await delay(100)
    }
  }
}
