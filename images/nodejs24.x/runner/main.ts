/**
 * First process of a nodejs24.x sandbox: initialises what needs no function, waits where it can be saved, becomes unique, then is
 * given its function, loads it and pulls requests. Always a client: it listens on nothing. A seed pulls nothing: what pulls are
 * its forks (fork.ts), each at a socket of its own.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { waitForRestore } from './checkpoint.ts'
import { makeUnique } from './clone.ts'
import { patchConsole } from './console.ts'
import { applyEnvironment, applyNodeOptions } from './environment.ts'
import { errorBody } from './error-body.ts'
import { serveKind } from './handler-kind.ts'
import { loadHandler } from './handler-loader.ts'
import { becomeFork, seedHello } from './fork.ts'
import { fitHeap } from './heap.ts'
import { coverNewContexts, rememberContexts } from './math-random.ts'
import { failRunning, pollForever } from './poll-loop.ts'
import { preload } from './preload.ts'
import { rehearse } from './rehearsal.ts'
import { RuntimeApi } from './runtime-api.ts'
import { defineGlobals } from './streaming-handler.ts'
import { endOnUncaught } from './uncaught.ts'
import { watchResources } from './resources.ts'

/** Set only where the runner is tested outside of a sandbox. */
let socketPath = process.env['FORKYARD_API_SOCKET'] ?? '/run/forkyard/api.sock'
/** The assignment says so too, but later. */
const isSeed = process.env['FORKYARD_SEED'] === '1'

patchConsole()
defineGlobals()
coverNewContexts()
await preload()
const isSaved = process.env['FORKYARD_CHECKPOINT'] === '1'
// Others would pay for it in each start.
if (isSaved || isSeed) await rehearse(join(tmpdir(), `forkyard-rehearsal-${process.pid}.sock`))
if (isSaved) waitForRestore()

makeUnique(Buffer.alloc(0))
const api = new RuntimeApi(socketPath)
const assignment = await api.assignment()
makeUnique(Buffer.from(assignment.entropy, 'base64'))

let initialised = false
const { seed } = assignment
rememberContexts(seed !== undefined)
const resources = seed && watchResources()
endOnUncaught((requestId, error) => (initialised ? failRunning(socketPath, requestId, error) : api.initFailed(error)))
try {
  applyEnvironment(assignment.environment)
  fitHeap(Number(assignment.environment['AWS_LAMBDA_FUNCTION_MEMORY_SIZE'] ?? 0))
  await applyNodeOptions(process.env['NODE_OPTIONS'])
  const served = await serveKind(await loadHandler(process.cwd(), assignment.handler), assignment.handler)
  if (seed && resources) {
    api.close()
    socketPath = await becomeFork(socketPath, seedHello(await resources.opened()), seed)
    rememberContexts(false)
  }
  initialised = true
  await pollForever(socketPath, served, assignment.concurrency)
} catch (error) {
  const body = errorBody(error)
  if (!initialised) {
    console.error('Init Error \t', JSON.stringify(body))
    await api.initFailed(body)
  } else console.error('the node cannot be reached:', body.errorMessage)
  process.exit(1)
}
