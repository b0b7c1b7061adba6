/** Waits until a service does its work. */
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServiceSpec } from './service-spec.ts'

/** What the last try found, or nothing when the service is ready. */
type Probe = () => Promise<string | undefined>

const probeUrl =
  (url: string): Probe =>
  async () => {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(5_000) })
      const body = await response.text()
      return response.ok ? undefined : `${url}: HTTP ${response.status} ${body.slice(0, 200)}`
    } catch (error) {
      return `${url}: ${error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error)}`
    }
  }

const probePort =
  (port: number): Probe =>
  async () => {
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    const socket = connect(port, '127.0.0.1')
    socket.setTimeout(5_000, () => resolve(`port ${port}: no answer`))
    socket.once('connect', () => resolve(undefined)).once('error', (error) => resolve(`port ${port}: ${error.message}`))
    const found = await promise
    socket.destroy()
    return found
  }

const probeOf = (ready: ServiceSpec['ready']): Probe =>
  'url' in ready ? probeUrl(ready.url) : probePort(ready.tcpPort)

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
