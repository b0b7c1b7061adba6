/** A directory as an EROFS image that gVisor maps as it is: uncompressed, no inline data, nothing of time or machine in it. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const uuid = '00000000-0000-4000-8000-000000000000'

export const makeErofs = async (root: string, file: string): Promise<void> => {
  const options = ['-E', 'noinline_data', '-T', '0', '-U', uuid, '--all-root', '-x', '-1', '--quiet']
  await run('mkfs.erofs', [...options, file, root])
}

export const sha256OfFile = async (file: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}
