/**
 * One invocation over plain HTTP, signed before the clock starts: what is measured is the platform, and no client library. (AWS's
 * SDK spends several milliseconds of its own on each call.)
 */
import { Sha256Node } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { Pool } from 'undici'
import type { StartWish } from '../../services/contracts/placement.ts'
import type { Connection } from '../support/lambda.ts'

export interface Timed {
  /** From sending the request to the last byte of its answer. */
  readonly tookMs: number
  readonly startType: string | undefined
  /** Phases of the request, as `Server-Timing` says them. */
  readonly serverTiming: string
  readonly text: string
}

/** Whatever the answer is. */
export interface Answered {
  readonly tookMs: number
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

export interface SignedClient {
  /** @throws Error when nobody answers. */
  ask(name: string, event: unknown, start?: StartWish): Promise<Answered>
  /** @throws Error when the answer is not 200, or is the function's error. */
  invoke(name: string, event: unknown, start?: StartWish): Promise<Timed>
  close(): Promise<void>
}

/** @param connections at the same time; more requests wait here. */
export const createSignedClient = (
  { endpoint, region, accessKeyId, secretAccessKey }: Connection,
  connections = 64,
): SignedClient => {
  const pool = new Pool(endpoint, { connections, keepAliveTimeout: 30_000 })
  const credentials = { accessKeyId, secretAccessKey }
  const signer = new SignatureV4({ service: 'lambda', region, credentials, sha256: Sha256Node })
  const { protocol, hostname, host } = new URL(endpoint)
  const ask: SignedClient['ask'] = async (name, event, start) => {
    const path = `/2015-03-31/functions/${name}/invocations`
    const body = JSON.stringify(event)
    const { headers } = await signer.sign({
      method: 'POST',
      protocol,
      hostname,
      path,
      query: {},
      headers: { host, 'content-type': 'application/json', ...(start ? { 'x-forkyard-start': start } : {}) },
      body,
    })
    const from = performance.now()
    const reply = await pool.request({ method: 'POST', path, headers, body })
    const text = await reply.body.text()
    return { tookMs: performance.now() - from, status: reply.statusCode, headers: reply.headers, text }
  }
  return {
    ask,
    invoke: async (name, event, start) => {
      const { tookMs, status, headers, text } = await ask(name, event, start)
      if (status !== 200 || headers['x-amz-function-error'] !== undefined)
        throw new Error(`${name}: HTTP ${status} ${text}`)
      const serverTiming = String(headers['server-timing'])
      return { tookMs, text, serverTiming, startType: /start;desc="([a-z]+)"/.exec(serverTiming)?.[1] }
    },
    close: () => pool.close(),
  }
}
