/**
 * The node's proxy: functions come to an address that stands for a binding, and who comes is told by the address they come from, which the
 * filter pins to their sandbox. What a binding leads to is asked anew for each request and session, so a change applies at once.
 */
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import type { Logger } from '../../chassis/log.ts'
import { bindingTarget, httpPort, postgresPort } from '../../contracts/bindings.ts'
import { registryKey } from '../../contracts/subjects.ts'
import { whoAt, type Audit } from '../network/flow-audit.ts'
import type { NodeNetwork, Tenancy } from '../network/node-network.ts'
import type { Callers } from '../node-gateway/node-gateway.ts'
import type { BoundFunctions, NamedBinding } from './bound-functions.ts'
import type { FunctionCaller } from './function-calls.ts'
import { createHttpForwarder, refuse, type Used } from './http-proxy.ts'
import { proxyPostgres } from './postgres-proxy.ts'
import type { Reach } from './reach.ts'

export interface ProxyDeps {
  readonly nodeId: string
  readonly addresses: readonly string[]
  readonly network: Pick<NodeNetwork, 'askerAt'>
  readonly bound: BoundFunctions
  readonly reach: Reach
  readonly calls: FunctionCaller
  readonly callers: Callers
  readonly audit: Pick<Audit, 'add'>
  readonly logger: Logger
}

/** Of all functions together; each sandbox is bounded by its descriptors. */
const maxConnections = 4096

/** @returns ends it, with what goes through it. @throws Error when an address cannot be listened on. */
export const startBindingProxy = async (deps: ProxyDeps): Promise<() => Promise<void>> => {
  const { addresses, logger, reach, calls, callers } = deps
  const forwarder = createHttpForwarder(reach)
  const sockets = new Set<Socket>()
  const http = addresses.map(() =>
    createHttpServer({ requestTimeout: 0, headersTimeout: 10_000, maxHeaderSize: 64 * 1024 }, (request, response) => {
      const found = findBinding(deps, request.socket)
      if (!found || found.binding.type === 'postgresql') return refuse(response, 404, 'no binding is here')
      const { name, binding, tenancy } = found
      const call = { request, response, name, used: used(deps, found) }
      if (binding.type === 'function') {
        const calling = callers.callingInvocation(tenancy.instanceId, tenancy.config)
        void calls.forward({ ...call, calling })
      } else void forwarder.forward({ ...call, binding })
    }),
  )
  const postgres = addresses.map(() =>
    createServer((socket) => {
      const found = findBinding(deps, socket)
      if (found?.binding.type === 'postgresql') {
        const { name, binding } = found
        void proxyPostgres({ client: socket, name, binding, reach, used: used(deps, found) })
      } else socket.destroy()
    }),
  )
  const servers: Server[] = [...http, ...postgres]
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))))
    await Promise.all([forwarder.close(), calls.close()])
  }
  for (const server of servers) {
    server.maxConnections = maxConnections
    server.on('error', (err) => logger.warn({ err }, 'bindings'))
    server.on('connection', (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
  }
  try {
    for (const [at, address] of addresses.entries()) {
      for (const [server, port] of [
        [http[at], httpPort],
        [postgres[at], postgresPort],
      ] as const) {
        if (!server) continue
        server.listen(port, address)
        await once(server, 'listening')
      }
    }
    return close
  } catch (error) {
    await close()
    throw error
  }
}

interface Found extends NamedBinding {
  readonly tenancy: Tenancy
}

const findBinding = ({ network, bound }: ProxyDeps, { remoteAddress, localAddress }: Socket): Found | undefined => {
  const tenancy = network.askerAt(remoteAddress ?? '')?.tenancy
  if (!tenancy) return undefined
  const { tenant, name } = tenancy.config
  const found = bound.at(registryKey(tenant, name), localAddress ?? '')
  return found && { ...found, tenancy }
}

/** Tells the audit. */
const used =
  ({ nodeId, audit }: ProxyDeps, { name, binding, tenancy }: Found) =>
  (verdict: 'used' | 'refused', more: Parameters<Used>[1] = {}): void =>
    audit.add({
      kind: 'binding',
      ...whoAt(nodeId, tenancy, performance.now()),
      verdict,
      binding: name,
      type: binding.type,
      target: bindingTarget(binding),
      ...more,
    })
