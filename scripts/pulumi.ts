/**
 * `pulumi`, as `eval "$(./scripts/up --env)"` provides it. Stack `local` unless another is named; commands that run on a stack
 * get the configuration of the tree together with this machine's salt, which must not be written into the tree.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { enginePath, engineEnv, makeBackend, openStack } from './engine.ts'
import { configFile, localPlace } from './place.ts'
import { locked } from './stack.ts'

const onStack = new Set(['up', 'update', 'preview', 'pre', 'destroy', 'refresh', 'import', 'watch'])

const args = process.argv.slice(2)
const { values, positionals } = parseArgs({
  args,
  strict: false,
  options: { stack: { type: 'string', short: 's' }, 'config-file': { type: 'string' } },
})
const named = typeof values.stack === 'string' ? values.stack : undefined
const place = localPlace(named)

const passOn = async (extra: readonly string[]): Promise<number> => {
  const child = spawn(enginePath(), [...args, ...extra], { stdio: 'inherit', env: engineEnv(place) })
  // A terminal sends these to the engine as well: it decides when to end.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  return code ?? 128 + constants.signals[signal ?? 'SIGTERM']
}

const report = (line: string): void => void process.stderr.write(`${line}\n`)

const withConfiguration = async (): Promise<number> => {
  await openStack(place)
  return await passOn(['--config-file', configFile(place)])
}

makeBackend(place)
const needsConfiguration = onStack.has(positionals[0] ?? '') && values['config-file'] === undefined
process.exitCode = await (needsConfiguration ? locked(place, report, withConfiguration) : passOn([]))
