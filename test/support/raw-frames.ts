/** Frames as a sandbox could never send them, for the sandbox's end of a slot: behind the header that its socket wants. */
export const virtioHeader = Buffer.alloc(10)

export interface FrameInput {
  readonly from: { readonly mac: readonly number[]; readonly address: string }
  readonly to: { readonly mac: readonly number[]; readonly address: string; readonly port: number }
  readonly text: string
  readonly fragment?: { readonly offset: number; readonly more: boolean }
}

const octets = (address: string): number[] => address.split('.').map(Number)

export const checksum = (bytes: Buffer): number => {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  return ~sum & 0xffff
}

/** UDP over IPv4, from port 4000. */
export const udpFrame = ({ from, to, text, fragment }: FrameInput): Buffer => {
  const payload = Buffer.from(text)
  const udp = Buffer.alloc(8)
  udp.writeUInt16BE(4000, 0)
  udp.writeUInt16BE(to.port, 2)
  udp.writeUInt16BE(8 + payload.length, 4)
  // A later fragment has no header of its own.
  const body = fragment && fragment.offset > 0 ? payload : Buffer.concat([udp, payload])
  const ip = Buffer.alloc(20)
  ip[0] = 0x45
  ip.writeUInt16BE(20 + body.length, 2)
  ip.writeUInt16BE(77, 4)
  if (fragment) ip.writeUInt16BE((fragment.more ? 0x2000 : 0) | (fragment.offset >> 3), 6)
  ip[8] = 64
  ip[9] = 17
  ip.set(octets(from.address), 12)
  ip.set(octets(to.address), 16)
  ip.writeUInt16BE(checksum(ip), 10)
  return Buffer.concat([virtioHeader, Buffer.from([...to.mac, ...from.mac, 0x08, 0x00]), ip, body])
}

/** "Who has `asked`?", and the sender's claim to have `address`. */
export const arpFrame = (mac: readonly number[], address: string, asked: string): Buffer => {
  const ethernet = [...Array<number>(6).fill(0xff), ...mac, 0x08, 0x06]
  const arp = [0, 1, 8, 0, 6, 4, 0, 1, ...mac, ...octets(address), 0, 0, 0, 0, 0, 0, ...octets(asked)]
  return Buffer.concat([virtioHeader, Buffer.from([...ethernet, ...arp])])
}
