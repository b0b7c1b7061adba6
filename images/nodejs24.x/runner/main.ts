/**
 * First process of a nodejs24.x sandbox: initialises what needs no function, waits where it can be saved, becomes unique, then is
 * given its function, loads it and pulls requests. Always a client: it listens on nothing. A seed pulls nothing: what pulls are
 * its forks (fork.ts), each at a socket of its own. Nor does a process that is saved with its function (save.ts): its clones do.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Assignment } from '../../../services/contracts/runtime-api.ts'
import { waitForRestore } from './checkpoint.ts'
import { emptyCaches, makeUnique } from './clone.ts'
import { patchConsole } from './console.ts'
import { applyEnvironment, applyNodeOptions } from './environment.ts'
import { errorBody } from './error-body.ts'
import { serveKind, type Served } from './handler-kind.ts'
import { loadHandler } from './handler-loader.ts'
import { becomeFork, seedHello } from './fork.ts'
import { fitHeap } from './heap.ts'
import { defineHooks, runAfterRestore } from './hooks.ts'
import { coverNewContexts, rememberContexts } from './math-random.ts'
import { failRunning, pollForever } from './poll-loop.ts'
import { preload } from './preload.ts'
import { rehearse } from './rehearsal.ts'
import { RuntimeApi } from './runtime-api.ts'
import { beginSaving, type Saving } from './save.ts'
import { defineGlobals } from './streaming-handler.ts'
import { endOnUncaught } from './uncaught.ts'
import { watchResources } from './resources.ts'

/** Set only where the runner is tested outside of a sandbox. */
let socketPath = process.env['FORKYARD_API_SOCKET'] ?? '/run/forkyard/api.sock'
/** The assignment says so too, but later. */
const isSeed = process.env['FORKYARD_SEED'] === '1'

patchConsole()
defineGlobals()
defineHooks()
coverNewContexts()
await preload()
const savedAs = process.env['FORKYARD_CHECKPOINT']
// Others would pay for it in each start.
if (savedAs || isSeed) await rehearse(join(tmpdir(), `forkyard-rehearsal-${process.pid}.sock`))
if (savedAs === 'runtime') {
  emptyCaches()
  waitForRestore()
}

/** Unique already when it asks, and once more with the host's randomness. */
const beAssigned = async (): Promise<{ api: RuntimeApi; assignment: Assignment }> => {
  makeUnique(Buffer.alloc(0))
  const connected = new RuntimeApi(socketPath)
  const given = await connected.assignment()
  makeUnique(Buffer.from(given.entropy, 'base64'))
  return { api: connected, assignment: given }
}
let { api, assignment } = await beAssigned()

const load = async (root: string): Promise<Served> =>
  serveKind(await loadHandler(root, assignment.handler), assignment.handler)

/** Returns in each clone: with what it serves. */
const becomeClone = async (saving: Saving, served: Served): Promise<Served> => {
  const environment = await saving.wait(api)
  rememberContexts(false)
  ;({ api, assignment } = await beAssigned())
  if (assignment.probe) return load(assignment.environment['LAMBDA_TASK_ROOT'] ?? '/')
  environment.restore(assignment.environment)
  await runAfterRestore()
  return served
}

let initialised = false
let saving: Saving | undefined
const { seed } = assignment
rememberContexts(seed !== undefined || assignment.checkpoint !== undefined)
const resources = seed && watchResources()
endOnUncaught((requestId, error) => (initialised ? failRunning(socketPath, requestId, error) : api.initFailed(error)))
try {
  applyEnvironment(assignment.environment)
  fitHeap(Number(assignment.environment['AWS_LAMBDA_FUNCTION_MEMORY_SIZE'] ?? 0))
  if (assignment.checkpoint) saving = beginSaving(assignment.checkpoint.withheld)
  await applyNodeOptions(process.env['NODE_OPTIONS'])
  let served = await load(process.cwd())
  if (seed && resources) {
    api.close()
    const opened = await resources.opened()
    if (opened === undefined) emptyCaches()
    socketPath = await becomeFork(socketPath, seedHello(opened), seed)
    rememberContexts(false)
  }
  if (saving) {
    served = await becomeClone(saving, served)
    saving = undefined
  }
  initialised = true
  await pollForever(socketPath, served, assignment.concurrency)
} catch (error) {
  if (saving?.isUnderWay) await saving.refuse(api, error)
  const body = errorBody(error)
  if (!initialised) {
    console.error('Init Error \t', JSON.stringify(body))
    await api.initFailed(body)
  } else console.error('the node cannot be reached:', body.errorMessage)
  process.exit(1)
}
