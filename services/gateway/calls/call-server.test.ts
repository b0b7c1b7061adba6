/** The port for nodes with a certificate of the installation, and a node's own client before it. */
import { once } from 'node:events'
import { createServer, request as ask, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueCertificates } from '../../../stacks/components/issue-certificates.ts'
import { createFunctionCaller, type FunctionCaller } from '../../node-agent/bindings/function-calls.ts'
import { Gateways } from '../../node-agent/bindings/gateways.ts'
import { startCallServer, type CallServer } from './call-server.ts'

const token = 'of-nodes'.repeat(8)
const subjects = {
  gateway: { names: ['gateway'], addresses: [] },
  other: { names: ['node-agent'], addresses: [] },
}
const issued = issueCertificates({ subjects, days: 1 }, undefined, Date.now())
const foreign = issueCertificates({ subjects, days: 1 }, undefined, Date.now())
const handle = (request: IncomingMessage, response: ServerResponse): void => {
  response.end(request.headers.host)
}

const servers: CallServer[] = []
const start = async (of: 'gateway' | 'other'): Promise<CallServer> => {
  const { cert = '', key = '' } = issued.certificates[of] ?? {}
  const tls = { ca: issued.authority.cert, cert, key }
  const listen = { host: '127.0.0.1', port: 0 }
  const server = await startCallServer({ listen, url: 'https://gateway', token, tls }, 5_000, handle)
  servers.push(server)
  return server
}

let proxy: Server
let caller: FunctionCaller
beforeAll(async () => {
  proxy = createServer((request, response) => {
    const calling = { ticket: 'a', traceparent: undefined, shared: false }
    void caller.forward({ request, response, name: 'other', calling, used: () => undefined })
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
})
afterAll(async () => {
  proxy.closeAllConnections()
  proxy.close()
  await Promise.all(servers.map((server) => server.close(0)))
})

const answerOf = async ({ port }: CallServer, ca: string, shown = token): Promise<[number, string]> => {
  const gateways = new Gateways()
  gateways.heard({ url: `https://127.0.0.1:${port}`, leaving: false })
  caller = createFunctionCaller({ gateways, token: shown, ca, logger: pino({ level: 'silent' }) })
  try {
    // As functions do, for whom the name is no address.
    const { port: at } = proxy.address() as AddressInfo
    const asked = ask({ host: '127.0.0.1', port: at, headers: { host: 'other.internal' } }).end()
    const [reply] = (await once(asked, 'response')) as [IncomingMessage]
    return [reply.statusCode ?? 0, await text(reply)]
  } finally {
    await caller.close()
  }
}

describe('a call over TLS', () => {
  it('reaches what has the certificate of a gateway of this installation, with the name that the function called', async () => {
    const [status, host] = await answerOf(await start('gateway'), issued.authority.cert)
    expect([status, host]).toEqual([200, 'other.internal'])
  })

  it('with another token is refused', async () => {
    expect((await answerOf(await start('gateway'), issued.authority.cert, 'x'.repeat(64)))[0]).toBe(403)
  })

  it('goes neither to another service of it, nor to a gateway of another installation', async () => {
    expect((await answerOf(await start('other'), issued.authority.cert))[0]).toBe(502)
    expect((await answerOf(await start('gateway'), foreign.authority.cert))[0]).toBe(502)
  })
})
