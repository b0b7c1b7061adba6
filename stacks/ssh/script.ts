/**
 * Runs a host script on a host: `ensure|remove SCRIPT ARGUMENTS...`. Its input goes on through stdin; its output comes back. Commands on
 * one thing wait for each other: the one of an engine that was killed may run on for a while.
 */
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
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
  /** SHA-256 of the bundle of all scripts. */
  scripts: Type.String(),
  input: Type.Unknown(),
})

/** A command waits so long for another one, seconds. */
const lockSeconds = '900'

const runScript = ({ connection, installation, stateDir, lock, input }: Static<typeof Input>): Promise<string> =>
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

await runCommand(Input, { ensure: runScript, remove: runScript }, ({ connection }) => connection)
