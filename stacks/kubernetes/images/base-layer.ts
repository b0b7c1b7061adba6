/**
 * What the services' images stand on: Node.js, the libraries that it needs, and the few programs that services run. No shell, no package
 * manager, nobody but root and one user without rights.
 */
import {
  copyFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { withScratch } from '../../../images/scratch.ts'
import { withLock } from '../../../scripts/lock.ts'
import { extractDebianFiles, type DebianPackage } from '../../../scripts/setup/debian-files.ts'
import { run } from '../../../scripts/setup/run.ts'
import { fileDigest } from '../../../services/node-agent/file-digests.ts'
import { blobPath, packLayer, type Blob } from './layer.ts'

/** Of every image but that of NATS, which is one program. */
export const imageUser = 65_532

/** With all that they link to; `mkfs.erofs` for gateways, `mount` and what the network of sandboxes takes for nodes. */
const packages = ['libc6', 'libgcc-s1', 'libstdc++6'].concat(
  ['erofs-utils', 'liblz4-1', 'libuuid1', 'libselinux1', 'libpcre2-8-0'],
  ['mount', 'libmount1', 'libblkid1', 'libsmartcols1'],
  ['iproute2', 'libbpf1', 'libelf1', 'zlib1g', 'libcap2', 'libmnl0', 'libbsd0', 'libmd0', 'libdb5.3'],
  ['nftables', 'libnftables1', 'libnftnl11', 'libxtables12', 'libjansson4', 'libgmp10', 'libedit2', 'libtinfo6'],
)
const unwanted = ['usr/share']
/** Each must run in what is there: another Debian's programs may link to more. */
const checks = [
  ['/usr/bin/node', '--version'],
  ['/usr/bin/mkfs.erofs', '--help'],
  ['/bin/umount', '--version'],
  ['/bin/mount', '--version'],
  ['/sbin/ip', '-V'],
  ['/sbin/tc', '-V'],
  ['/usr/sbin/nft', '--version'],
] as const

export interface BaseLayer {
  readonly layer: Blob
  readonly packages: readonly DebianPackage[]
  readonly node: { readonly version: string; readonly sha256: string }
}

interface BaseRecord extends BaseLayer {
  readonly inputs: string
}

/** Made once for each Node.js; Debian's packages are those of that day. @param store where blobs are */
export const provideBaseLayer = async (store: string): Promise<BaseLayer> => {
  mkdirSync(store, { recursive: true })
  // The images are built side by side, and stand on the same.
  return withLock(store, () => foundOrMade(store))
}

const foundOrMade = async (store: string): Promise<BaseLayer> => {
  const inputs = JSON.stringify([process.version, packages, unwanted, 1])
  const file = join(store, 'base.json')
  const known = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as BaseRecord) : undefined
  if (known?.inputs === inputs && existsSync(blobPath(store, known.layer.digest))) return known
  return withScratch(store, '.base-', async (scratch) => {
    const root = join(scratch, 'root')
    const extracted = await extractDebianFiles(packages, root)
    for (const path of unwanted) rmSync(join(root, path), { recursive: true, force: true })
    const node = join(root, 'usr/bin/node')
    copyFileSync(process.execPath, node)
    chmodSync(node, 0o755)
    addAccounts(root)
    for (const command of checks) await run('chroot', [root, ...command])
    const record: BaseRecord = {
      inputs,
      layer: await packLayer(root, store),
      packages: extracted,
      node: { version: process.versions.node, sha256: await fileDigest(node) },
    }
    writeFileSync(join(scratch, 'base.json'), JSON.stringify(record))
    renameSync(join(scratch, 'base.json'), file)
    return record
  })
}

const addAccounts = (root: string): void => {
  for (const dir of ['etc', 'tmp', 'run', 'proc', 'sys', 'dev', 'var/lib'])
    mkdirSync(join(root, dir), { recursive: true })
  chmodSync(join(root, 'tmp'), 0o1777)
  chmodSync(root, 0o755)
  writeFileSync(
    join(root, 'etc/passwd'),
    `root:x:0:0:root:/:/sbin/nologin\nforkyard:x:${imageUser}:${imageUser}::/:/sbin/nologin\n`,
  )
  writeFileSync(join(root, 'etc/group'), `root:x:0:\nforkyard:x:${imageUser}:\n`)
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n')
}
