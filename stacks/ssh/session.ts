/**
 * One SSH connection to a host, over which any number of commands run. It is the system's own `ssh`, because the command provider
 * verifies no host key (docs/decisions/0030). The private key is only ever in this process and in an agent that dies with it.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { withScratch } from '../../images/scratch.ts'
import { knownHostsLine, rootCommand, sshOptions, type Connection, type SessionFiles } from './connection.ts'

/** The host does not answer, does not have its key, or does not let us in. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
}

/** The command ended with another status than 0. The message carries the end of what it said. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError'
}

export interface Session {
  /** Runs a command as root. What it writes to stderr is passed on as it comes. @returns its stdout. @throws RemoteError */
  readonly exec: (words: readonly string[], input?: string | Readable) => Promise<string>
}

const openMs = 15_000
const attempts = 3
const betweenMs = 2_000

/** Of this user alone, and gone with a reboot where that is possible: a directory that another user could make is none. */
const privateParent = (): string => {
  if (process.getuid?.() === 0) return '/run'
  return process.env['XDG_RUNTIME_DIR'] ?? join(homedir(), '.cache', 'forkyard')
}

export const withSession = <T>(connection: Connection, use: (session: Session) => Promise<T>): Promise<T> => {
  const parent = privateParent()
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  return withScratch(parent, 'forkyard-ssh-', async (dir) => {
    const own = join(dir, 'agent')
    const agent = connection.privateKey === undefined ? (process.env['SSH_AUTH_SOCK'] ?? 'none') : own
    const files: SessionFiles = { knownHosts: join(dir, 'known_hosts'), control: join(dir, 'control'), agent }
    writeFileSync(files.knownHosts, knownHostsLine(connection), { mode: 0o600 })
    const children: ChildProcess[] = []
    try {
      if (connection.privateKey !== undefined) children.push(await startAgent(own, connection.privateKey))
      children.push(await openWithPatience(connection, files))
      return await use({ exec: (words, input) => execute(connection, files, words, input) })
    } finally {
      for (const child of children.toReversed()) child.kill('SIGKILL')
    }
  })
}

/** Dies with this process, however that dies. */
const spawnBound = (command: string, args: readonly string[]): ChildProcess =>
  spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })

const exited = (child: ChildProcess): Promise<number | null> => {
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('error', reject).once('close', (code) => resolve(code))
  return promise
}

const textOf = (stream: Readable | null): (() => string) => {
  let text = ''
  stream?.setEncoding('utf8').on('data', (part: string) => (text = (text + part).slice(-8000)))
  return () => text.trim()
}

/** @throws Error with what the program said when it ends before `path` is there. */
const waitForSocket = async (child: ChildProcess, path: string): Promise<void> => {
  const said = textOf(child.stderr)
  let ended = false
  void exited(child).then(
    () => (ended = true),
    () => (ended = true),
  )
  const deadline = performance.now() + openMs
  while (!existsSync(path)) {
    if (ended) throw new Error(said() || 'it ended without a word')
    if (performance.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(said() || `no answer within ${openMs} ms`)
    }
    await delay(20)
  }
}

const startAgent = async (socket: string, privateKey: string): Promise<ChildProcess> => {
  const agent = spawnBound('ssh-agent', ['-D', '-a', socket])
  await waitForSocket(agent, socket)
  const deadline = performance.now() + openMs
  for (;;) {
    const problem = await addKey(socket, privateKey)
    if (problem === undefined) return agent
    // Its socket is there a moment before it listens.
    if (!/Connection refused/i.test(problem) || performance.now() > deadline) {
      agent.kill('SIGKILL')
      throw new Error(`the private key cannot be used: ${problem}`)
    }
    await delay(20)
  }
}

/** @returns what is wrong, if anything */
const addKey = async (socket: string, privateKey: string): Promise<string | undefined> => {
  const add = spawn('ssh-add', ['-q', '-'], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { ...process.env, SSH_AUTH_SOCK: socket, SSH_ASKPASS_REQUIRE: 'never' },
  })
  const said = textOf(add.stderr)
  add.stdin.on('error', () => undefined).end(`${privateKey.trimEnd()}\n`)
  return (await exited(add)) === 0 ? undefined : said()
}

/** A host that starts just now is given a moment; one with another key is not. */
const openWithPatience = async (connection: Connection, files: SessionFiles): Promise<ChildProcess> => {
  for (let attempt = 1; ; attempt++) {
    const master = spawnBound('ssh', [...sshOptions(connection, files), '-M', '-N', connection.address])
    try {
      await waitForSocket(master, files.control)
      return master
    } catch (error) {
      const reason = (error as Error).message
      const otherKey = /Host key verification failed/i.test(reason)
      const final = otherKey || /no matching host key|Permission denied/i.test(reason)
      const told = otherKey ? 'it has another host key than the configuration says' : reason
      if (final || attempt === attempts) throw new UnreachableError(describe(connection, told), { cause: error })
      await delay(betweenMs)
    }
  }
}

const describe = ({ name, address, port, user }: Connection, reason: string): string =>
  `host ${name} (${user}@${address} port ${port}) cannot be reached: ${reason}`

const execute = async (
  connection: Connection,
  files: SessionFiles,
  words: readonly string[],
  input: string | Readable = '',
): Promise<string> => {
  const args = [...sshOptions(connection, files), connection.address, rootCommand(connection.user, words)]
  const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => (stdout += part))
  const said = textOf(child.stderr)
  child.stderr.on('data', (part: string) => void process.stderr.write(part))
  const code = exited(child)
  // A command that ends before it has read its input says why by its status.
  if (typeof input === 'string') child.stdin.on('error', () => undefined).end(input)
  else await pipeline(input, child.stdin).catch(() => undefined)
  const status = await code
  if (status === 0) return stdout
  throw new RemoteError(`${connection.name}: ${words[0]} ended with ${status}\n${said()}`)
}
