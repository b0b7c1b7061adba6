/** Child processes of the set-up: output is kept, and shown when the command fails. */
import { spawn, type SpawnOptions } from 'node:child_process'

/** The command ended with something other than 0. The message carries the end of what it wrote. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly output: string

  constructor(command: string, status: string, output: string) {
    super(`${command} ended with ${status}\n${output.trimEnd().split('\n').slice(-40).join('\n')}`)
    this.output = output
  }
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string
  /** Each line that the command writes, as it comes: for a progress display. */
  readonly onLine?: (line: string) => void
  /** After this the command and all that it started are killed. */
  readonly timeoutMs?: number
}

/** Process groups with a time limit: a terminal's interrupt does not reach them. */
const groups = new Set<number>()

const killGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

process.on('exit', () => groups.forEach(killGroup))

const ownGroup = (pid: number | undefined, timeoutMs: number): { timedOut: boolean; end: () => void } => {
  if (pid === undefined) return { timedOut: false, end: () => undefined }
  groups.add(pid)
  const timer = setTimeout(() => {
    group.timedOut = true
    killGroup(pid)
  }, timeoutMs)
  const end = () => {
    clearTimeout(timer)
    groups.delete(pid)
  }
  const group = { timedOut: false, end }
  return group
}

/** @returns what the command wrote on stdout. @throws CommandError */
export const run = async (command: string, args: readonly string[], options: RunOptions = {}): Promise<string> => {
  const { timeoutMs } = options
  const spawnOptions: SpawnOptions = {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: timeoutMs !== undefined,
    ...(options.cwd ? { cwd: options.cwd } : {}),
    ...(options.env ? { env: options.env } : {}),
  }
  const child = spawn(command, args, spawnOptions)
  const group = timeoutMs === undefined ? undefined : ownGroup(child.pid, timeoutMs)
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let stdout = ''
  let all = ''
  let partial = ''
  const take = (text: string) => {
    all += text
    const lines = (partial + text).split('\n')
    partial = lines.pop() ?? ''
    for (const line of lines) if (line.trim()) options.onLine?.(line.trimEnd())
  }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    take(text)
  })
  child.stderr?.setEncoding('utf8').on('data', take)
  child.stdin?.on('error', () => undefined).end(options.input ?? '')
  const name = [command, ...args.slice(0, 2)].join(' ')
  child.once('error', (error) => reject(new CommandError(command, error.message, all)))
  child.once('close', (code, signal) => {
    if (code === 0) return resolve(stdout)
    const limit = `its time limit of ${(timeoutMs ?? 0) / 60_000} min`
    reject(new CommandError(name, group?.timedOut ? limit : (signal ?? `exit code ${code}`), all))
  })
  try {
    return await promise
  } finally {
    group?.end()
  }
}
