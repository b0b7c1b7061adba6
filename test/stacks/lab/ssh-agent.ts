/** An agent with the key of a lab, as people have one: `$SSH_AUTH_SOCK` of this process. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { vi } from 'vitest'
import { run } from '../../../scripts/setup/run.ts'
import type { Lab } from './lab.ts'

/** @returns ends it */
export const startAgentWith = async (lab: Lab): Promise<() => void> => {
  const socket = join(lab.dir, 'agent')
  const agent = spawn('setpriv', ['--pdeathsig', 'KILL', 'ssh-agent', '-D', '-a', socket], { stdio: 'ignore' })
  const before = process.env['SSH_AUTH_SOCK']
  await vi.waitFor(() => {
    if (!existsSync(socket)) throw new Error('the agent does not listen')
  })
  await run('ssh-add', ['-q', '-'], { env: { ...process.env, SSH_AUTH_SOCK: socket }, input: lab.privateKey })
  process.env['SSH_AUTH_SOCK'] = socket
  return () => {
    agent.kill()
    if (before === undefined) delete process.env['SSH_AUTH_SOCK']
    else process.env['SSH_AUTH_SOCK'] = before
  }
}
