/**
 * gVisor's control socket: one JSON object each way over a Unix socket, files as attached descriptors (gVisor `pkg/urpc`,
 * `runsc/boot/controller.go`). Calling it directly saves the `runsc` process around each operation.
 */
import { closeSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import type { HostCalls } from './host-calls.ts'

/** The sandbox refused, or its socket is gone (`lost`: it died). */
export class ControlError extends Error {
  readonly lost: boolean
  constructor(method: string, problem: string, lost: boolean) {
    super(`${method}: ${problem}`)
    this.name = 'ControlError'
    this.lost = lost
  }
}

interface Reply {
  readonly success: boolean
  readonly err: string
  readonly result: unknown
}

const parse = (text: string): Reply | undefined => {
  try {
    return JSON.parse(text) as Reply
  } catch {
    return undefined
  }
}

/**
 * One call. The reply has no length, so it is complete when it parses. `signal` gives up waiting and closes the connection.
 * @throws ControlError
 */
const call = async (
  host: HostCalls,
  socketPath: string,
  method: string,
  arg: unknown,
  fds: readonly number[],
  signal?: AbortSignal,
): Promise<unknown> => {
  let fd: number
  try {
    fd = host.connectAndSend(socketPath, Buffer.from(JSON.stringify({ method, arg })), fds)
  } catch (error) {
    throw new ControlError(method, error instanceof Error ? error.message : String(error), true)
  }
  const socket = new Socket({ fd, readable: true, writable: true, ...(signal ? { signal } : {}) })
  let text = ''
  try {
    for await (const chunk of socket.setEncoding('utf8')) {
      text += chunk as string
      const reply = parse(text)
      if (!reply) continue
      if (!reply.success) throw new ControlError(method, reply.err, false)
      return reply.result
    }
  } catch (error) {
    if (error instanceof ControlError) throw error
    throw new ControlError(method, error instanceof Error ? error.message : String(error), true)
  } finally {
    socket.destroy()
  }
  throw new ControlError(method, 'the sandbox closed its control socket', true)
}

const withFiles = async <T>(paths: readonly string[], use: (fds: number[]) => Promise<T>): Promise<T> => {
  const fds: number[] = []
  try {
    for (const path of paths) fds.push(openSync(path, 'r'))
    return await use(fds)
  } finally {
    fds.forEach((fd) => closeSync(fd))
  }
}

/** Only loopback: what `runsc --network=none` sets up around a restore. */
const loopback = {
  LoopbackLinks: [
    {
      Name: 'lo',
      Addresses: [
        { Address: '127.0.0.1', PrefixLen: 8 },
        { Address: '::1', PrefixLen: 128 },
      ],
      Routes: [
        { Destination: { IP: '127.0.0.0', Mask: Buffer.from([255, 0, 0, 0]).toString('base64') } },
        { Destination: { IP: '::1', Mask: Buffer.alloc(16, 255).toString('base64') } },
      ],
      GVisorGRO: false,
    },
  ],
  IsRestore: true,
}

/** Restores the checkpoint in `directory` into the created sandbox; resolves when its processes run. */
export const restore = async (host: HostCalls, socketPath: string, directory: string): Promise<void> => {
  await call(host, socketPath, 'containerManager.SetNetworkArgs', loopback, [])
  const files = ['checkpoint.img', 'pages_meta.img', 'pages.img'].map((name) => `${directory}/${name}`)
  await withFiles(files, (fds) =>
    call(
      host,
      socketPath,
      'containerManager.Restore',
      { HavePagesFile: true, HaveDeviceFile: false, Background: false },
      fds,
    ),
  )
}

/** Mounts an EROFS image read-only at `destination` of the running sandbox; the file is opened here, never inside. */
export const mountImage = async (
  host: HostCalls,
  socketPath: string,
  id: string,
  image: string,
  destination: string,
): Promise<void> => {
  const arg = { ContainerID: id, Source: 'code', Destination: destination, FsType: 'erofs' }
  await withFiles([image], (fds) => call(host, socketPath, 'containerManager.Mount', arg, fds))
}

/** A link between the sandbox's own network stack and a packet socket, whose other end is somebody else's interface. */
export interface NetworkLink {
  readonly name: string
  readonly mtu: number
  /** 6 bytes. */
  readonly mac: readonly number[]
  /** Of everything that the link leads to. */
  readonly gatewayMac: readonly number[]
  /** Of the sandbox: IPv4 and IPv6. */
  readonly addresses: readonly NetworkAddress[]
  readonly socket: number
}

export interface NetworkAddress {
  readonly address: string
  readonly gateway: string
  /** 4 or 16. */
  readonly bytes: number
}

const bytes = (of: readonly number[]): string => Buffer.from(of).toString('base64')
const fifoQueue = 1
/** Segments may be as large as the kernel's own: it cuts them where they leave the host. */
const maxSegmentBytes = 65_536

/**
 * Adds the link to a sandbox that runs, with default routes over it. It was created without a network, as every sandbox is: its processes stay
 * in a network namespace of their own, in which there is nothing. Neighbours are fixed, nothing is asked on the link.
 */
export const addLink = async (host: HostCalls, socketPath: string, link: NetworkLink): Promise<void> => {
  const { name, mtu, mac, gatewayMac, addresses, socket } = link
  const hostRoute = ({ gateway, bytes: size }: NetworkAddress) => ({
    Destination: { IP: gateway, Mask: bytes(Array<number>(size).fill(0xff)) },
  })
  const defaultRoute = (size: number) => {
    const found = addresses.find((each) => each.bytes === size)
    const Destination = { IP: size === 4 ? '0.0.0.0' : '::', Mask: bytes(Array<number>(size).fill(0)) }
    return found ? { Name: name, Route: { Destination, Gateway: found.gateway } } : {}
  }
  const arg = {
    FDBasedLinks: [
      {
        Name: name,
        MTU: mtu,
        Addresses: addresses.map(({ address, bytes: size }) => ({ Address: address, PrefixLen: size * 8 })),
        Routes: addresses.map(hostRoute),
        Neighbors: addresses.map(({ gateway }) => ({ IP: gateway, HardwareAddr: bytes(gatewayMac) })),
        LinkAddress: bytes(mac),
        GSOMaxSize: maxSegmentBytes,
        // What another sandbox or this host sends carries no checksum yet: it never was on a wire.
        RXChecksumOffload: true,
        QDisc: fifoQueue,
        NumChannels: 1,
        IsPacket: [true],
        PreConfigured: true,
      },
    ],
    Defaultv4Gateway: defaultRoute(4),
    Defaultv6Gateway: defaultRoute(16),
  }
  await call(host, socketPath, 'Network.CreateLinksAndRoutes', arg, [socket])
}

/** What is told of sockets: after each call, with its outcome. */
const socketCalls = ['bind', 'listen', 'accept', 'accept4']

/**
 * From now on the sandbox's kernel tells of every such call, of all its processes, on the packet socket, as `network/socket-message.ts` reads it.
 * While nobody reads, the calls wait, some tenths of a second each.
 */
export const traceSockets = async (host: HostCalls, socketPath: string, socket: number): Promise<void> => {
  const points = socketCalls.map((name) => ({ name: `syscall/${name}/exit`, context_fields: ['time'] }))
  const sinks = [{ name: 'remote', config: { retries: 24, backoff: '100us', backoff_max: '20ms' } }]
  const arg = { Config: { name: 'Default', points, sinks }, Force: false }
  await call(host, socketPath, 'containerManager.CreateTraceSession', arg, [socket])
}

/** Resolves with the wait status of the first process. Rejects with `lost` when the sandbox itself dies. */
export const waitExit = async (
  host: HostCalls,
  socketPath: string,
  id: string,
  signal?: AbortSignal,
): Promise<number> => (await call(host, socketPath, 'containerManager.Wait', id, [], signal)) as number
