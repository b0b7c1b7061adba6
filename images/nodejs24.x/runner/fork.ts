/**
 * Seeds and their forks (native/runner-calls.c, services/node-agent/node-scheduler/seed.ts). A seed has loaded the function and goes on
 * only in its children: each is an instance of its own, with an id, a socket, output and randomness of its own.
 */
import { readlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import type { ForkLimits } from '../../../services/contracts/runtime-api.ts'
import { makeUnique } from './clone.ts'
import { exitNow, serveForks } from './native.ts'

/** What a seed tells the node once the function is initialised. */
export const seedHello = (unfit: string | undefined): string =>
  `${JSON.stringify(unfit === undefined ? { ready: true } : { unfit: unfit.slice(0, 1000) })}\n`

/** Resolves in each fork, with the path of its socket. The seed itself ends with the node's connection. */
export const becomeFork = async (socketPath: string, hello: string, limits: ForkLimits): Promise<string> => {
  const directory = dirname(socketPath)
  const { memoryMiB, processes, tmpMiB } = limits
  // In libuv's check phase no poll is under way whose descriptors the child could not trust.
  const forked = await new Promise<[string, string] | undefined>((resolve) => {
    setImmediate(() => resolve(serveForks(directory, hello, memoryMiB, processes, tmpMiB)))
  })
  if (!forked) process.exit(0)
  const [id, entropy] = forked
  endWithoutTeardown()
  Object.defineProperty(process, 'pid', { value: processId(), configurable: true, enumerable: true })
  process.env['AWS_LAMBDA_LOG_STREAM_NAME'] = id
  makeUnique(Buffer.from(entropy, 'hex'))
  return `${directory}/${id}.sock`
}

/** After the listeners of `exit` nothing more happens: Node.js would wait for threads of its platform that the child does not have. */
const endWithoutTeardown = (): void => {
  const emit = process.emit.bind(process) as (name: string, ...values: unknown[]) => boolean
  process.emit = ((name: string, ...values: unknown[]) => {
    const heard = emit(name, ...values)
    if (name === 'exit') exitNow(Number(process.exitCode ?? values[0] ?? 0))
    return heard
  }) as typeof process.emit
  ;(process as unknown as { reallyExit: (status?: number) => never }).reallyExit = (status = 0) => exitNow(status)
}

/** Node.js keeps the number it began with. */
const processId = (): number => Number(readlinkSync('/proc/self'))
