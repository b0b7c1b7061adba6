/**
 * No checkpoint is published before two clones of it answered, and differed in everything in which clones must differ. The clones run
 * the runtime's own probe (a function in the image), given to them as the node agent would give them one.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Assignment } from '../../services/contracts/runtime-api.ts'
import type { RuntimeFiles } from '../../services/node-agent/config.ts'
import { defaultTmpMiB } from '../../services/node-agent/sandbox/bundle.ts'
import { Sandbox, socketDir, type SandboxHost } from '../../services/node-agent/sandbox/sandbox.ts'
import { builderLimits } from './save.ts'

const cloneMs = 60_000
/** The clones' clocks may be this far from the machine's. */
const clockErrorMs = 5000

/** Where the probe of each runtime lies: `clone-probe.handler`, or an executable `bootstrap`. */
const probeRoot = '/var/runtime/probe'

export type Probe = Readonly<Record<string, string | number>>

/** @throws Error naming what did not differ, or why a clone did not answer. */
export const checkClones = async (host: SandboxHost, runtime: RuntimeFiles, checkpoint: string): Promise<void> => {
  const probes = await Promise.all([probeClone(host, runtime, checkpoint), probeClone(host, runtime, checkpoint)])
  const problems = findCollisions(probes)
  if (problems.length > 0) throw new Error(`clones of this checkpoint are not unique: ${problems.join('; ')}`)
}

/** Pure. `timeOriginError` is a distance in ms, all others are values that no two clones may share. */
export const findCollisions = (probes: readonly Probe[]): string[] => {
  const problems: string[] = []
  for (const name of new Set(probes.flatMap((probe) => Object.keys(probe)))) {
    const values = probes.map((probe) => probe[name])
    if (name === 'timeOriginError') {
      if (values.some((value) => !(Number(value) <= clockErrorMs)))
        problems.push(`the clock is off by ${values.join(', ')} ms`)
    } else if (values.includes(undefined) || new Set(values).size < values.length)
      problems.push(`${name}: ${values.join(', ')}`)
  }
  return problems
}

export const probeClone = async (host: SandboxHost, runtime: RuntimeFiles, checkpoint: string): Promise<Probe> => {
  const id = randomBytes(8).toString('hex')
  mkdirSync(socketDir(host.runDir, id), { recursive: true })
  const { server, answer } = await serveProbe(join(socketDir(host.runDir, id), 'api.sock'), id)
  const spec = { id, runtime, limits: builderLimits, tmpMiB: defaultTmpMiB, forRestore: true }
  try {
    const sandbox = await Sandbox.create(host, spec)
    let printed = ''
    for (const output of [sandbox.stdout, sandbox.stderr]) {
      output.on('error', () => undefined)
      output.setEncoding('utf8').on('data', (part: string) => (printed = (printed + part).slice(-4000)))
    }
    const timer = setTimeout(() => void sandbox.end({ reason: 'timeout', detail: 'no answer' }), cloneMs)
    try {
      await sandbox.restore(checkpoint)
      const ended = sandbox.exited.then(({ detail }) =>
        Promise.reject(new Error(`a clone ended: ${detail}\n${printed}`)),
      )
      return await Promise.race([answer, ended])
    } finally {
      clearTimeout(timer)
      await sandbox.end({ reason: 'killed', detail: 'probed' })
    }
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const assignment = (instanceId: string): Assignment => ({
  instanceId,
  environment: { LAMBDA_TASK_ROOT: probeRoot, _HANDLER: 'clone-probe.handler', PATH: '/usr/bin:/bin' },
  handler: 'clone-probe.handler',
  concurrency: 1,
  startType: 'restore',
  // None: what is in the checkpoint must become unique without the host's help.
  entropy: '',
})

/** The Runtime API for one invocation. */
const serveProbe = async (socketPath: string, id: string): Promise<{ server: Server; answer: Promise<Probe> }> => {
  const answer = Promise.withResolvers<Probe>()
  answer.promise.catch(() => undefined)
  const take = async (request: IncomingMessage): Promise<void> => {
    const body = await text(request)
    if (request.url?.endsWith('/response')) answer.resolve(JSON.parse(body) as Probe)
    else answer.reject(new Error(`the probe failed: ${body}`))
  }
  let given = false
  const server = createServer((request, response) => {
    const url = request.url ?? ''
    if (url.startsWith('/forkyard/v1/assignment')) {
      const given = assignment(id)
      const environ = Object.entries(given.environment).map(([name, value]) => `${name}=${value}\0`)
      response.end(url.includes('format=environ') ? environ.join('') : JSON.stringify(given))
    } else if (url.endsWith('/invocation/next')) {
      if (given) return
      given = true
      response.writeHead(200, {
        'content-type': 'application/json',
        'lambda-runtime-aws-request-id': id,
        'lambda-runtime-deadline-ms': String(Date.now() + cloneMs),
      })
      response.end('{}')
    } else
      take(request).then(
        () => response.writeHead(202).end(),
        (error: unknown) => answer.reject(error),
      )
  })
  server.listen(socketPath)
  await once(server, 'listening')
  // The sandbox's user is not the builder's.
  chmodSync(socketPath, 0o777)
  return { server, answer: answer.promise }
}
