/** Requests that arrive whether or not the ones before are answered, and what became of each. */
import { setTimeout as delay } from 'node:timers/promises'
import { errors } from 'undici'
import { createSignedClient, type SignedClient } from '../../bench/signed-invocation.ts'
import type { StartWish } from '../../../services/contracts/placement.ts'
import type { Connection } from '../../support/lambda.ts'

export interface Outcome {
  /** `performance.now()` at which it was to be sent. */
  readonly at: number
  readonly tookMs: number
  /** 0: nobody answered. */
  readonly status: number
  /** `ok`; code of the platform's error; `wrong`: the answer to something else; `function`: the function failed; otherwise what broke. */
  readonly what: string
  readonly retryAfter: string | undefined
}

export interface Load {
  readonly outcomes: readonly Outcome[]
  /** Sends no more, and waits for all answers. */
  stop(): Promise<readonly Outcome[]>
}

/** Echoes `n`, after `holdMs`. */
export const echo = `export const handler = async ({ n, holdMs }) => {
  if (holdMs) await new Promise((resolve) => setTimeout(resolve, holdMs))
  return n
}`

/** Numbers are never used twice: an answer to another request is seen. */
let lastNumber = 0

export const askOnce = async (
  client: SignedClient,
  name: string,
  event: object = {},
  start?: StartWish,
): Promise<Outcome> => {
  const n = ++lastNumber
  const at = performance.now()
  try {
    const { tookMs, status, headers, text } = await client.ask(name, { n, ...event }, start)
    const code = headers['x-forkyard-error'] ?? `HTTP ${status}`
    const failed = headers['x-amz-function-error'] !== undefined
    const good = text === String(n) ? 'ok' : 'wrong'
    const retryAfter = headers['retry-after']?.toString()
    return { at, tookMs, status, what: failed ? 'function' : status === 200 ? good : String(code), retryAfter }
  } catch (error) {
    const { code = 'unknown' } = error as { code?: string }
    const what = error instanceof errors.UndiciError ? error.code : code
    return { at, tookMs: performance.now() - at, status: 0, what, retryAfter: undefined }
  }
}

/**
 * @param connections in turn, as a balancer before the gateways would do it
 * @param perSecond in all
 */
export const startLoad = (
  connections: readonly Connection[],
  name: string,
  perSecond: number,
  event: object = {},
): Load => {
  const clients = connections.map((connection) => createSignedClient(connection, 1024))
  const outcomes: Outcome[] = []
  const under = new Set<Promise<void>>()
  const stop = new AbortController()
  /** A gateway that takes no connections is passed over, as a balancer does it. */
  const ask = async (index: number): Promise<Outcome> => {
    let last: Outcome | undefined
    for (let tries = 0; tries < clients.length && (!last || last.what === 'ECONNREFUSED'); tries++) {
      const client = clients[(index + tries) % clients.length]
      if (client) last = await askOnce(client, name, event)
    }
    if (!last) throw new Error('no gateway')
    return last
  }
  const send = (index: number): void => {
    const one = ask(index).then((outcome) => {
      outcomes.push(outcome)
      return void under.delete(one)
    })
    under.add(one)
  }
  const sending = (async () => {
    const from = performance.now()
    for (let sent = 0; !stop.signal.aborted;) {
      // What this process was late for is sent now: arrivals do not wait for it either.
      for (const due = ((performance.now() - from) / 1000) * perSecond; sent < due; sent++) send(sent)
      await delay(5)
    }
  })()
  let ended: Promise<void> | undefined
  const end = async (): Promise<void> => {
    stop.abort()
    await sending
    await Promise.all(under)
    await Promise.all(clients.map((client) => client.close()))
  }
  return {
    outcomes,
    stop: async () => {
      await (ended ??= end())
      return outcomes
    },
  }
}

export const count = (outcomes: readonly Outcome[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { what } of outcomes) counts[what] = (counts[what] ?? 0) + 1
  return counts
}
