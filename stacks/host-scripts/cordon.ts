/** `ensure`: the node gets nothing new. `remove`: it does again. Over the platform's own API, as `forkyard cordon` says it. */
import { setTimeout as delay } from 'node:timers/promises'
import { Type } from 'typebox'
import { Connection } from '../../services/cli/connection.ts'
import { isNotFound, signedFetch } from '../../services/cli/signed-fetch.ts'
import { explaining } from './explaining.ts'
import { readInput } from './input.ts'

const CordonInput = Type.Object({
  connection: Connection,
  nodeId: Type.String(),
  reason: Type.String({ minLength: 1, maxLength: 500 }),
})

/** A node that was just made is not known at once. */
const ensureMs = 60_000
/** One that goes may be gone already, and the gateway too. */
const removeMs = 10_000
const againMs = 1_000

const tell = async ({ connection, nodeId, reason }: typeof input, action: string, forMs: number): Promise<void> => {
  const path = `/forkyard/v1/nodes/${encodeURIComponent(nodeId)}/${action}`
  const body = action === 'cordon' ? { reason } : {}
  for (const until = Date.now() + forMs; ;) {
    try {
      await signedFetch(connection, { method: 'POST', path, body, signal: AbortSignal.timeout(forMs) })
      return
    } catch (error) {
      if (Date.now() + againMs > until || (action === 'uncordon' && isNotFound(error))) throw error
    }
    await delay(againMs)
  }
}

const input = readInput(CordonInput)
await explaining(async () => {
  switch (process.argv[2]) {
    case 'ensure':
      await tell(input, 'cordon', ensureMs)
      break
    case 'remove':
      // What is taken away must not depend on what may be gone: a node that could not be told says so in `forkyard status`.
      await tell(input, 'uncordon', removeMs).catch((error: unknown) => {
        if (!isNotFound(error)) process.stderr.write(`${input.nodeId} may still be cordoned: ${String(error)}\n`)
      })
      break
    default:
      throw new Error('usage: cordon.ts ensure|remove')
  }
})
