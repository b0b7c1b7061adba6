/** A function that does nothing wrong, asked again and again while another one does. */
import type { LambdaClient } from '@aws-sdk/client-lambda'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { createFunction, invoke, uniqueName } from '../support/lambda.ts'

const source = `let count = 0
export const handler = async (event) => ({ got: event.n, count: ++count })`

export interface Peer {
  readonly name: string
  /** Every answer meanwhile was right and came from the same instance, and there was one after `work` had ended. */
  during<T>(work: () => Promise<T>): Promise<T>
}

export const createPeer = async (client: LambdaClient): Promise<Peer> => {
  const name = uniqueName('peer')
  // One instance for all: the next request may overtake the news that the one before has ended, and nobody asks between two pieces of work.
  const Tags = { 'forkyard:concurrency': '8', 'forkyard:keep-alive-ms': '600000' }
  await createFunction(client, name, source, { MemorySize: 128, Timeout: 30, Tags })
  await invoke(client, name, { n: -1 })
  let asked = 1
  const ask = async (): Promise<void> => {
    const n = asked++
    const { json, functionError } = await invoke(client, name, { n })
    expect({ json, functionError }).toEqual({ json: { got: n, count: n + 1 }, functionError: undefined })
  }
  return {
    name,
    during: async (work) => {
      const over = new AbortController()
      const asking = (async () => {
        while (!over.signal.aborted) {
          await ask()
          await delay(20)
        }
        await ask()
      })()
      asking.catch(() => undefined)
      try {
        return await work()
      } finally {
        over.abort()
        await asking
      }
    },
  }
}
