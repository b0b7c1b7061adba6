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
  readonly timeoutMs?: number
}

/** @returns what the command wrote on stdout. @throws CommandError */
export const run = async (command: string, args: readonly string[], options: RunOptions = {}): Promise<string> => {
  const spawnOptions: SpawnOptions = {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.cwd ? { cwd: options.cwd } : {}),
    ...(options.env ? { env: options.env } : {}),
    ...(options.timeoutMs ? { timeout: options.timeoutMs, killSignal: 'SIGKILL' as const } : {}),
  }
  const child = spawn(command, args, spawnOptions)
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
  child.once('error', (error) => reject(new CommandError(command, error.message, all)))
  child.once('close', (code, signal) =>
    code === 0
      ? resolve(stdout)
      : reject(new CommandError([command, ...args.slice(0, 2)].join(' '), signal ?? `exit code ${code}`, all)),
  )
  return await promise
}
