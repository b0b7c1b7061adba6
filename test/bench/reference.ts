/**
 * The reference of the start benchmark: what anybody gets from gVisor without Forkyard. `runsc run` of the same image and the
 * same runner, with the code bind-mounted, and a Runtime API on the same kind of socket: from spawning it to its answer.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import type { RuntimeFiles } from '../../services/node-agent/config.ts'
import { makeBundleDir, runscFlags, writeBundle } from '../../services/node-agent/sandbox/bundle.ts'

export interface ReferenceInput {
  readonly runscPath: string
  readonly runtime: RuntimeFiles
  /** Directory with the function's files. */
  readonly codeDir: string
  readonly handler: string
  /** Short. Removed afterwards. */
  readonly workDir: string
}

/** Serves one event and resolves at its answer. */
const serveOnce = (socketPath: string, handler: string): { server: Server; answered: Promise<void> } => {
  const answered = Promise.withResolvers<void>()
  let given = false
  const server = createServer((request, response) => {
    request.resume()
    if (request.url?.startsWith('/forkyard/v1/assignment')) {
      const environment = { LAMBDA_TASK_ROOT: '/var/task', _HANDLER: handler, AWS_LAMBDA_FUNCTION_NAME: 'reference' }
      const entropy = randomBytes(32).toString('base64')
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({ instanceId: 'reference', environment, handler, concurrency: 1, startType: 'boot', entropy }),
      )
    } else if (request.url?.endsWith('/invocation/next')) {
      if (given) return
      given = true
      response.setHeader('lambda-runtime-aws-request-id', 'reference')
      response.setHeader('lambda-runtime-deadline-ms', String(Date.now() + 60_000))
      response.setHeader(
        'lambda-runtime-invoked-function-arn',
        'arn:aws:lambda:us-east-1:000000000000:function:reference',
      )
      response.setHeader('content-type', 'application/json')
      response.end('{}')
    } else {
      const failed = request.url?.endsWith('/error')
      request.once('end', () => {
        response.writeHead(202).end()
        if (failed) answered.reject(new Error(`the reference function failed: ${request.url}`))
        else answered.resolve()
      })
    }
  })
  server.listen(socketPath, () => chmodSync(socketPath, 0o777))
  return { server, answered: answered.promise }
}

const bindCode = (bundle: string, codeDir: string): void => {
  const file = join(bundle, 'config.json')
  const spec = JSON.parse(readFileSync(file, 'utf8')) as { mounts: unknown[] }
  spec.mounts.push({ destination: '/var/task', type: 'bind', source: codeDir, options: ['rbind', 'ro'] })
  writeFileSync(file, JSON.stringify(spec))
}

/** @returns milliseconds from spawn to answer. Leaves nothing. */
export const measureReference = async (input: ReferenceInput): Promise<number> => {
  const id = randomBytes(6).toString('hex')
  const dir = join(input.workDir, id)
  const socketDir = join(dir, 's')
  mkdirSync(socketDir, { recursive: true })
  const { server, answered } = serveOnce(join(socketDir, 'api.sock'), input.handler)
  await once(server, 'listening')
  const bundle = join(dir, 'b')
  const { imagePath, command } = input.runtime
  makeBundleDir(bundle)
  writeBundle(bundle, { imagePath, command, socketDir, hostname: 'reference' })
  bindCode(bundle, input.codeDir)
  const runsc = ['--root', join(input.workDir, 'runsc'), ...runscFlags]
  const from = performance.now()
  const child = spawn(input.runscPath, [...runsc, 'run', '--bundle', bundle, id], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const exited = once(child, 'exit')
  try {
    const early = exited.then(() => Promise.reject(new Error('runsc run ended before it answered')))
    await Promise.race([answered, early])
    return performance.now() - from
  } finally {
    spawnSync(input.runscPath, [...runsc, 'kill', id, 'KILL'], { stdio: 'ignore' })
    await exited
    server.closeAllConnections()
    server.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** runsc keeps an empty network namespace mounted in its root. */
export const cleanReference = (workDir: string): void => {
  try {
    execFileSync('umount', [join(workDir, 'runsc', 'null-netns')], { stdio: 'ignore' })
  } catch {
    // It was never made.
  }
  rmSync(workDir, { recursive: true, force: true })
}
