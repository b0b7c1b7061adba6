/**
 * Runs a host script on a host: `ensure|check|remove SCRIPT ARGUMENTS...`. Its input goes on through stdin; its output comes back. Commands on
 * one thing wait for each other: the one of an engine that was killed may run on for a while.
 */
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { withLock } from '../../scripts/lock.ts'
import { ownerVariable } from '../host-scripts/processes.ts'
import { runCommand } from './command.ts'
import { Connection } from './connection.ts'
import { hostPrograms } from './host-programs.ts'
import { lockDir } from './prepare-script.ts'
import { withSession } from './session.ts'

const Input = Type.Object({
  connection: Connection,
  installation: Type.String(),
  stateDir: Type.String(),
  /** Name of the thing. */
  lock: Type.String({ pattern: '^[A-Za-z0-9._-]+$' }),
  /** Things of one name are updated one after another, on whatever host. */
  turn: Type.Optional(Type.String()),
  /** SHA-256 of the bundle of all scripts. */
  scripts: Type.String(),
  input: Type.Unknown(),
})

/** A command waits so long for another one, seconds. */
const lockSeconds = '900'

const overSsh = ({ connection, installation, stateDir, lock, input }: Static<typeof Input>): Promise<string> =>
  withSession(connection, ({ exec }) =>
    exec(
      [
        // A reboot has taken the directory away.
        'sh',
        '-c',
        'mkdir -p "$1" && shift && exec "$@"',
        'sh',
        lockDir(installation),
        'env',
        `${ownerVariable}=${installation}`,
        'flock',
        '-w',
        lockSeconds,
        join(lockDir(installation), lock),
        join(stateDir, hostPrograms.node),
        join(stateDir, hostPrograms.scripts),
        ...process.argv.slice(3),
      ],
      JSON.stringify(input),
    ),
  )

/** The provider says so: what is made for the first time waits for nobody, since what it needs may be made at the same time. */
const isUpdate = (verb: string): boolean => verb === 'ensure' && process.env['PULUMI_COMMAND_STDOUT'] !== undefined

const runScript = (input: Static<typeof Input>): Promise<string> => {
  const { turn, installation } = input
  // The next update knows by this output that it is one.
  const run = async () => (await overSsh(input)) || '{}\n'
  if (!turn || !isUpdate(process.argv[2] ?? '')) return run()
  return withLock(`${installation}-${turn}`, run)
}

await runCommand(Input, { ensure: runScript, check: overSsh, remove: runScript }, ({ connection }) => connection)
