/**
 * Runs one of two shell scripts on a host, as root: `ensure`, `remove`. Both are in the input, so that what was made is undone by the script
 * of its own time (`prepare-script.ts`).
 */
import { Type } from 'typebox'
import { runCommand } from './command.ts'
import { Connection } from './connection.ts'
import { withSession } from './session.ts'

const Input = Type.Object({ connection: Connection, ensure: Type.String(), remove: Type.String() })

await runCommand(
  Input,
  {
    ensure: ({ connection, ensure }) => withSession(connection, ({ exec }) => exec(['sh', '-c', ensure])),
    remove: async ({ connection, remove }) => {
      await withSession(connection, ({ exec }) => exec(['sh', '-c', remove]))
    },
  },
  ({ connection }) => connection,
)
