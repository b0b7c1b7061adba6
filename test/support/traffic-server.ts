/**
 * Echo over TCP and UDP on the ports that it is given, IPv4 and IPv6, and a name server for the zone of its first argument (JSON: name to
 * address) on port 5300; what is sent to port 7100 is counted, and the count is the answer. Says `ready` when it listens, then a line for each datagram that it got. For traffic-target.ts.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { decode, encode, streamDecode, streamEncode, type Packet } from 'dns-packet'

const [zoneText = '{}', ...portTexts] = process.argv.slice(2)
const zone = JSON.parse(zoneText) as Record<string, string>
const ports = portTexts.map(Number)
const namePort = 5300
const ttl = 6

const answer = ({ id, questions = [] }: Packet): Packet => {
  const [{ name, type } = { name: '', type: 'A' }] = questions
  const address = zone[name.toLowerCase()]
  const fits = address !== undefined && type === (address.includes(':') ? 'AAAA' : 'A')
  const answers = fits ? [{ type: type as 'A', name, ttl, data: address }] : []
  return { id: id ?? 0, type: 'response', flags: 128 | (address === undefined ? 3 : 0), questions, answers }
}

const echo = (port: number): Promise<unknown>[] => {
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (data) => socket.write(`${socket.remoteAddress?.replace('::ffff:', '')} ${data.toString()}`))
  }).listen(port, '::')
  const udp = createSocket('udp6').bind(port, '::')
  udp.on('message', (data, { address, port: from }) => {
    const who = address.replace('::ffff:', '')
    process.stdout.write(`${who} ${data.toString().slice(0, 40)}\n`)
    udp.send(`${who} ${data.toString()}`, from, address)
  })
  return [once(tcp, 'listening'), once(udp, 'listening')]
}

const names = (): Promise<unknown>[] => {
  const udp = createSocket('udp4').bind(namePort)
  udp.on('message', (data, { address, port }) => udp.send(encode(answer(decode(data))), port, address))
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (data: Buffer) => socket.write(streamEncode(answer(streamDecode(data)))))
  }).listen(namePort)
  return [once(tcp, 'listening'), once(udp, 'listening')]
}

const sink = (): Promise<unknown> => {
  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0
    socket.on('error', () => socket.destroy())
    socket.on('data', (data: Buffer) => (bytes += data.length))
    socket.on('end', () => socket.end(String(bytes)))
  }).listen(7100, '::')
  return once(tcp, 'listening')
}

await Promise.all([...ports.flatMap(echo), ...names(), sink()])
process.stdout.write('ready\n')
