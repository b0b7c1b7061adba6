import { Command } from 'commander'
import { addAudit } from './commands/audit.ts'
import { addDeploy } from './commands/deploy.ts'
import { addEnv } from './commands/env.ts'
import { addExplain } from './commands/explain.ts'
import { addList, addRemove } from './commands/functions.ts'
import { addInvoke } from './commands/invoke.ts'
import { addKeys } from './commands/keys.ts'
import { addLogs } from './commands/logs.ts'
import { addJoining } from './commands/joining.ts'
import { addNodes } from './commands/nodes.ts'
import { addPrincipals, addWhoami } from './commands/principals.ts'
import { addStatus } from './commands/status.ts'

export const buildProgram = (): Command => {
  const program = new Command('forkyard')
    .description('Functions on your own machines, over the AWS Lambda API')
    .showHelpAfterError('(forkyard --help lists the commands)')
  for (const add of [
    addDeploy,
    addInvoke,
    addLogs,
    addAudit,
    addList,
    addRemove,
    addStatus,
    addNodes,
    addJoining,
    addExplain,
    addEnv,
    addPrincipals,
    addKeys,
    addWhoami,
  ])
    add(program)
  return program
}
