/** Waits until a service does its work. */
import { get as httpGet, type IncomingMessage } from 'node:http'
import { get as httpsGet } from 'node:https'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServiceSpec } from './service-spec.ts'

/** What the last try found, or nothing when the service is ready. */
type Probe = () => Promise<string | undefined>

type UrlReady = Extract<ServiceSpec['ready'], { url: string }>

const get = async ({ url, tls }: UrlReady): Promise<IncomingMessage> => {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const signal = AbortSignal.timeout(5_000)
  const request = tls
    ? httpsGet(url, { signal, agent: false, ca: tls.ca, servername: tls.name })
    : httpGet(url, { signal, agent: false })
  request.once('response', resolve).once('error', reject)
  return promise
}

const probeUrl =
  (ready: UrlReady): Probe =>
  async () => {
    try {
      const response = await get(ready)
      const body = await text(response)
      return response.statusCode === 200 ? undefined : `${ready.url}: HTTP ${response.statusCode} ${body.slice(0, 200)}`
    } catch (error) {
      return `${ready.url}: ${error instanceof Error ? error.message : String(error)}`
    }
  }

const probePort =
  (port: number, host = '127.0.0.1'): Probe =>
  async () => {
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    const socket = connect(port, host)
    socket.setTimeout(5_000, () => resolve(`port ${port}: no answer`))
    socket.once('connect', () => resolve(undefined)).once('error', (error) => resolve(`port ${port}: ${error.message}`))
    const found = await promise
    socket.destroy()
    return found
  }

const probeOf = (ready: ServiceSpec['ready']): Probe =>
  'url' in ready ? probeUrl(ready) : probePort(ready.tcpPort, ready.host)

export const isReady = async (ready: ServiceSpec['ready']): Promise<boolean> => (await probeOf(ready)()) === undefined

/** @throws Error with what was missing when `timeoutMs` passes. */
export const waitUntilReady = async (ready: ServiceSpec['ready'], timeoutMs: number): Promise<void> => {
  const probe = probeOf(ready)
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const missing = await probe()
    if (missing === undefined) return
    if (performance.now() > deadline) throw new Error(`not ready after ${timeoutMs} ms: ${missing}`)
    await delay(100)
  }
}
