/** Ports that nobody listens on, for servers of tests and of scratch stacks. */
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'

/**
 * All open at the same time, so that no two are the same. Below those that the kernel gives to connections: one of these might be
 * taken between here and the service's start.
 */
export const freePorts = async (count: number, host = '127.0.0.1'): Promise<number[]> => {
  const servers: Server[] = []
  for (let tries = 0; servers.length < count && tries < 1000; tries++) {
    const server = createServer().listen(randomInt(10_000, 32_768), host)
    const listens = once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (await listens) servers.push(server)
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

export const freePort = async (host?: string): Promise<number> => {
  const [port] = await freePorts(1, host)
  if (port === undefined) throw new Error('no port is free')
  return port
}
