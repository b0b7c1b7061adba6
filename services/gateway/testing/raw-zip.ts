/** Zips as no honest tool writes them. */
import { crc32, deflateRawSync } from 'node:zlib'

export interface Entry {
  name: string
  content?: Buffer
  mode?: number
  /** What the directory claims, where that is a lie. */
  size?: number
  crc?: number
  deflate?: boolean
  flags?: number
}

/** A zip of exactly these entries: no library would write most of them. */
export const zip = (entries: readonly Entry[], claimedCount = entries.length): Buffer => {
  const locals: Buffer[] = []
  const centrals: Buffer[] = []
  let offset = 0
  for (const {
    name,
    content = Buffer.from('x'),
    mode = 0o100644,
    size,
    crc,
    deflate = false,
    flags = 0x800,
  } of entries) {
    const data = deflate ? deflateRawSync(content) : content
    const nameBytes = Buffer.from(name)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(flags, 2)
    common.writeUInt16LE(deflate ? 8 : 0, 4)
    common.writeUInt32LE(crc ?? crc32(content), 10)
    common.writeUInt32LE(data.length, 14)
    common.writeUInt32LE(size ?? content.length, 18)
    common.writeUInt16LE(nameBytes.length, 22)
    const local = Buffer.concat([Buffer.from('PK\u0003\u0004'), common, nameBytes, data])
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE((mode << 16) >>> 0, 6)
    tail.writeUInt32LE(offset, 10)
    centrals.push(Buffer.concat([Buffer.from('PK\u0001\u0002'), Buffer.from([20, 3]), common, tail, nameBytes]))
    locals.push(local)
    offset += local.length
  }
  const directory = Buffer.concat(centrals)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(claimedCount, 4)
  end.writeUInt16LE(claimedCount, 6)
  end.writeUInt32LE(directory.length, 8)
  end.writeUInt32LE(offset, 12)
  return Buffer.concat([...locals, directory, Buffer.from('PK\u0005\u0006'), end])
}
