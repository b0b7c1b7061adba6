/** `forkyard.json` beside a function's code: what `deploy` would otherwise ask on the command line. All of it optional. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { Bindings } from '../contracts/bindings.ts'
import { cachePolicies, poolPattern, runtimeNames } from '../contracts/function.ts'
import { NetworkPolicy } from '../contracts/network.ts'
import { CliError } from './cli-error.ts'

export const projectFileName = 'forkyard.json'

export const ProjectFile = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    name: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' })),
    /** Module that esbuild starts from, or that holds a Python handler; relative to the directory. */
    entry: Type.Optional(Type.String()),
    handler: Type.Optional(Type.String()),
    runtime: Type.Optional(Type.Enum(runtimeNames)),
    /** MiB. */
    memory: Type.Optional(Type.Integer({ minimum: 128, maximum: 10_240 })),
    /** Seconds. */
    timeout: Type.Optional(Type.Integer({ minimum: 1, maximum: 900 })),
    environment: Type.Optional(Type.Record(Type.String(), Type.String())),
    url: Type.Optional(Type.Enum(['none', 'public', 'iam'])),
    /** The function URL sends bytes as the function writes them. */
    streaming: Type.Optional(Type.Boolean()),
    concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
    reuse: Type.Optional(Type.Boolean()),
    keepAliveMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000 })),
    /** `strict-cold`: nothing that costs CPU or memory is held for the function. */
    cache: Type.Optional(Type.Enum(cachePolicies)),
    /** Its instances may be forks, which share a sandbox. */
    fork: Type.Optional(Type.Boolean()),
    /** Nodes that it runs on, by the name of their pool. */
    pool: Type.Optional(Type.String({ pattern: poolPattern })),
    /** What it may reach over the network, and what may reach it. `null`: no network. Absent: as it is. */
    network: Type.Optional(Type.Union([NetworkPolicy, Type.Null()])),
    /** What it uses by name. `${NAME}` in a value is a variable of whoever deploys. `null`: nothing. Absent: as it is. */
    bindings: Type.Optional(Type.Union([Bindings, Type.Null()])),
    /** Files and directories that go into the archive as they are. */
    include: Type.Optional(Type.Array(Type.String())),
  },
  { additionalProperties: false },
)
export type ProjectFile = Static<typeof ProjectFile>

export const readProjectFile = (directory: string): ProjectFile => {
  const file = join(directory, projectFileName)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CliError(`${file} is not JSON: ${(error as Error).message}`, 1, { cause: error })
  }
  return checkProject(value, file)
}

/** @throws CliError that names the key and what is expected. */
export const checkProject = (value: unknown, source: string): ProjectFile => {
  if (Value.Check(ProjectFile, value)) return value
  const problems = Value.Errors(ProjectFile, value).map(({ instancePath, message, params }) => {
    const allowed = 'allowedValues' in params ? ` (${params.allowedValues.join(', ')})` : ''
    const extra = 'additionalProperties' in params ? `: ${params.additionalProperties.join(', ')}` : ''
    return `${instancePath || '/'} ${message}${allowed}${extra}`
  })
  throw new CliError(`${source}: ${problems.join('; ')}`)
}
