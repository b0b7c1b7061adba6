/** A directory as an EROFS image that gVisor maps as it is: uncompressed, no inline data, nothing of time or machine in it. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
const uuid = '00000000-0000-4000-8000-000000000000'

export const makeErofs = async (root: string, file: string): Promise<void> => {
  const options = ['-E', 'noinline_data', '-T', '0', '-U', uuid, '--all-root', '-x', '-1', '--quiet']
  await run('mkfs.erofs', [...options, file, root])
}
