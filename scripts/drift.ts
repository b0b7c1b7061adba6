/**
 * What differs between what the last update made and what is there now, on this machine and on every host. The engine's own `refresh` cannot
 * tell: the commands that make an installation have nothing to read. So the state is asked what was made, and the host scripts whether it still is.
 */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { checkLine } from './check-line.ts'

const Made = Type.Object({
  urn: Type.String(),
  inputs: Type.Object({
    create: Type.String(),
    stdin: Type.Optional(Type.Unknown()),
    environment: Type.Optional(Type.Record(Type.String(), Type.String())),
  }),
})

export interface Drift {
  /** Of the resource. */
  readonly name: string
  /** What differs, a line each; or why it cannot be known. */
  readonly differences: readonly string[]
}

interface Command {
  readonly name: string
  readonly create: string
  readonly stdin: string
  readonly environment: Readonly<Record<string, string>>
}

/** @param exported text of `pulumi stack export --show-secrets` */
export const commandsIn = (exported: string): Command[] => {
  const { deployment } = JSON.parse(exported) as { deployment?: { resources?: { type: string }[] } }
  return (deployment?.resources ?? [])
    .filter(({ type }) => type === 'command:local:Command')
    .map((resource) => {
      const { urn, inputs } = Value.Parse(Made, resource)
      const { create, stdin, environment = {} } = inputs
      return { name: urn.split('::').at(-1) ?? urn, create, stdin: plain(stdin), environment }
    })
}

/** A secret is exported as an object with its value as JSON. */
const plain = (value: unknown): string => {
  if (typeof value === 'string') return value
  const { plaintext } = (value ?? {}) as { plaintext?: string }
  return plaintext === undefined ? '' : (JSON.parse(plaintext) as string)
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** As the engine's provider runs it. */
const runLine = async (line: string, { stdin, environment }: Command): Promise<Ended> => {
  const child = spawn('/bin/sh', ['-c', line], {
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('error', reject).once('close', resolve)
  child.stdin.on('error', () => undefined).end(stdin)
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await promise, stdout, stderr }
}

/** Hosts side by side, each at one thing after another: a host takes only so many connections at a time. */
const atOnce = 8

const overAll = async <T>(commands: readonly Command[], use: (command: Command) => Promise<T>): Promise<T[]> => {
  const results: T[] = []
  const waiting = [...commands.entries()]
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) results[next[0]] = await use(next[1])
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return results
}

/** Changes nothing. @returns what drifted; what could not be asked is among it */
export const findDrift = async (exported: string): Promise<Drift[]> => {
  const found = await overAll(commandsIn(exported), async (command) => {
    const line = checkLine(command.create)
    if (line === undefined) return { name: command.name, differences: [] }
    const { code, stdout, stderr } = await runLine(line, command)
    const differences =
      code === 0 ? linesOf(stdout) : [`cannot be looked at: ${linesOf(stderr).at(-1) ?? `status ${code}`}`]
    return { name: command.name, differences }
  })
  return found.filter(({ differences }) => differences.length > 0)
}

const linesOf = (output: string): string[] => output.split('\n').filter((line) => line.trim() !== '')

/** Makes what drifted again, as the last update did. @returns what differs still */
export const mendDrift = async (exported: string, drifts: readonly Drift[]): Promise<Drift[]> => {
  const names = new Set(drifts.map(({ name }) => name))
  // In the state's order, which is that of their making.
  for (const command of commandsIn(exported).filter(({ name }) => names.has(name)))
    await runLine(command.create, command)
  return findDrift(exported)
}
