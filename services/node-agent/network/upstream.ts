/** One question to the name servers of this host, in their order. */
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, isIP } from 'node:net'
import { encode, type Packet } from 'dns-packet'
import { tryDecode, type Question } from './dns-answer.ts'

export interface Upstream {
  readonly address: string
  readonly port: number
}

const timeoutMs = 2_000

/** `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`. @throws Error for anything else */
export const parseUpstream = (text: string): Upstream => {
  if (isIP(text) > 0) return { address: text, port: 53 }
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([\d.]+)):(\d{1,5})$/.exec(text) ?? []
  const address = bracketed ?? plain ?? ''
  if (isIP(address) === 0) throw new Error(`'${text}' is no address of a name server`)
  return { address, port: Number(port) }
}

/** As this host is configured. */
export const hostUpstreams = (file = '/etc/resolv.conf'): Upstream[] => {
  try {
    const lines = readFileSync(file, 'utf8').split('\n')
    const addresses = lines.flatMap((line) => /^nameserver\s+(\S+)/.exec(line)?.[1]?.split('%')[0] ?? [])
    return addresses.filter((address) => isIP(address) > 0).map((address) => ({ address, port: 53 }))
  } catch {
    return []
  }
}

export interface UpstreamAnswer {
  readonly bytes: Buffer
  readonly packet: Packet
}

/** Undefined when none of them answers. */
export const askUpstreams = async (
  upstreams: readonly Upstream[],
  question: Question,
): Promise<UpstreamAnswer | undefined> => {
  for (const upstream of upstreams) {
    // A number and a port of its own for each: an answer that somebody else made up does not fit.
    const id = randomInt(65_536)
    const asked = { id, type: 'query' as const, flags: 256, questions: question.packet.questions ?? [] }
    const bytes = encode({ ...asked, additionals: [edns] })
    const answer = await overUdp(upstream, bytes, asked).catch(() => undefined)
    if (!answer) continue
    return answer.packet.flag_tc ? await overTcp(upstream, bytes, asked).catch(() => undefined) : answer
  }
  return undefined
}

const edns = { type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [] } as unknown as NonNullable<
  Packet['additionals']
>[number]

const fits = (bytes: Buffer, asked: Packet): (UpstreamAnswer & { packet: { flag_tc?: boolean } }) | undefined => {
  const packet = tryDecode(bytes)
  const [got] = packet?.questions ?? []
  const [wanted] = asked.questions ?? []
  if (!packet || packet.type !== 'response' || packet.id !== asked.id || !got || !wanted) return undefined
  if (got.type !== wanted.type || got.name.toLowerCase() !== wanted.name.toLowerCase()) return undefined
  return { bytes, packet }
}

const overUdp = async ({ address, port }: Upstream, bytes: Buffer, asked: Packet) => {
  const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4')
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    socket.connect(port, address)
    await once(socket, 'connect', { signal })
    socket.send(bytes)
    for (;;) {
      const [message] = (await once(socket, 'message', { signal })) as [Buffer]
      const answer = fits(message, asked)
      if (answer) return answer
    }
  } finally {
    socket.close()
  }
}

const overTcp = async ({ address, port }: Upstream, bytes: Buffer, asked: Packet) => {
  const socket = connect({ host: address, port, signal: AbortSignal.timeout(timeoutMs) })
  try {
    socket.write(frame(bytes))
    let received = Buffer.alloc(0)
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer])
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0))
        return fits(received.subarray(2, 2 + received.readUInt16BE(0)), asked)
    }
    return undefined
  } finally {
    socket.destroy()
  }
}

/** A message over TCP begins with its length. */
export const frame = (bytes: Buffer): Buffer => {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}
