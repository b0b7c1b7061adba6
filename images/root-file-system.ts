/**
 * Root file system of a runtime from Debian packages, taken with the host's own apt sources and only extracted: nothing is
 * installed, no maintainer script runs. What their scripts would have made (merged /usr, certificates, users) is made here.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { sandboxUser } from '../services/node-agent/sandbox/bundle.ts'

/** In every image; what a sandbox mounts something on must be there, empty. */
const directories = ['proc', 'sys', 'dev', 'tmp', 'run/forkyard', 'var/task', 'var/runtime', 'opt', 'etc', 'root']

/** Package managers, their data, and what only people read. */
const unwanted = `
boot home media mnt srv var/lib var/cache var/log var/backups
etc/apt etc/dpkg etc/update-motd.d etc/logcheck etc/cron.daily
usr/include usr/games usr/src usr/lib/apt usr/lib/dpkg usr/share/debconf usr/share/dpkg
usr/share/bash-completion usr/share/bug usr/share/doc usr/share/doc-base usr/share/gdb usr/share/info
usr/share/lintian usr/share/locale usr/share/man usr/share/menu
`
  .trim()
  .split(/\s+/)
const unwantedPrograms = /^(dpkg|debconf|apt|deb-|perl|c_rehash|update-alternatives|start-stop-daemon|bashbug)/

export const makeRootFileSystem = async (root: string, packages: readonly string[], report: (line: string) => void) => {
  await extractPackages(root, packages, report)
  mergeUsr(root)
  prune(root)
  for (const path of directories) mkdirSync(join(root, path), { recursive: true, mode: 0o755 })
  chmodSync(join(root, 'tmp'), 0o1777)
  for (const path of readdirSync(join(root, 'dev'))) rmSync(join(root, 'dev', path), { recursive: true })
  addAlternatives(root)
  addCertificates(root)
  addUsers(root)
}

/** apt's sources of this machine, in both formats, without what was switched off or added by other vendors' set-ups. */
const aptSources = (): string[] =>
  ['/etc/apt/sources.list', '/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list.d/ubuntu.sources'].filter(
    (path) => existsSync(path) && readFileSync(path, 'utf8').trim() !== '',
  )

/** Dies with this process, and takes its children along: what is killed leaves nobody writing. */
const extractPackages = async (root: string, packages: readonly string[], report: (line: string) => void) => {
  const sources = aptSources()
  if (sources.length === 0) throw new Error('this machine has no apt sources: /etc/apt/sources.list is empty')
  const command = [
    'mmdebstrap',
    '--mode=root',
    '--variant=extract',
    `--include=${packages.join(',')}`,
    '',
    root,
    ...sources,
  ]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', '--pid', '--fork', '--kill-child', ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let tail = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-4000)
    for (const line of text.split('\n')) if (line.startsWith('I:')) report(line.slice(3))
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`mmdebstrap ended with ${code}:\n${tail}`)
}

/** Older Debian packages still ship /bin, /sbin and /lib apart from /usr. */
const mergeUsr = (root: string): void => {
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    const path = join(root, name)
    if (existsSync(path) && !lstatSync(path).isSymbolicLink()) {
      cpSync(path, join(root, 'usr', name), { recursive: true, verbatimSymlinks: true })
      rmSync(path, { recursive: true })
    }
    if (!lstatSync(path, { throwIfNoEntry: false }) && existsSync(join(root, 'usr', name)))
      symlinkSync(`usr/${name}`, path)
  }
}

const prune = (root: string): void => {
  for (const path of unwanted) rmSync(join(root, path), { recursive: true, force: true })
  for (const dir of ['usr/bin', 'usr/sbin'].map((path) => join(root, path)))
    for (const name of existsSync(dir) ? readdirSync(dir) : []) if (unwantedPrograms.test(name)) rmSync(join(dir, name))
}

/** Names that a program gets when its package is installed, as on Amazon Linux. */
const addAlternatives = (root: string): void => {
  for (const [name, program] of Object.entries({ sh: 'bash', awk: 'gawk' })) {
    const path = join(root, 'usr/bin', name)
    if (existsSync(join(root, 'usr/bin', program)) && !existsSync(path)) symlinkSync(program, path)
  }
}

/** What update-ca-certificates would write, and where Amazon Linux has it. */
const addCertificates = (root: string): void => {
  const source = join(root, 'usr/share/ca-certificates/mozilla')
  const bundle = readdirSync(source)
    .sort()
    .map((name) => readFileSync(join(source, name), 'utf8').trim())
    .join('\n')
  rmSync(join(root, 'usr/share/ca-certificates'), { recursive: true })
  for (const path of ['etc/ssl/certs', 'etc/pki/tls/certs']) mkdirSync(join(root, path), { recursive: true })
  writeFileSync(join(root, 'etc/ssl/certs/ca-certificates.crt'), `${bundle}\n`)
  symlinkSync('/etc/ssl/certs/ca-certificates.crt', join(root, 'etc/pki/tls/certs/ca-bundle.crt'))
  symlinkSync('/etc/ssl/certs/ca-certificates.crt', join(root, 'etc/ssl/cert.pem'))
}

/** Lambda's own name for it. */
const addUsers = (root: string): void => {
  const { uid, gid } = sandboxUser
  const users = [
    'root:x:0:0:root:/root:/bin/sh',
    `sbx_user1051:x:${uid}:${gid}::/tmp:/bin/sh`,
    'nobody:x:65534:65534::/:/bin/sh',
  ]
  writeFileSync(join(root, 'etc/passwd'), `${users.join('\n')}\n`)
  writeFileSync(join(root, 'etc/group'), `root:x:0:\nsbx_group:x:${gid}:\nnogroup:x:65534:\n`)
  writeFileSync(
    join(root, 'etc/nsswitch.conf'),
    'passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n',
  )
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost forkyard\n::1 localhost\n')
  // Written by the node when the sandbox gets a network; dangling until then, as if it were not there.
  rmSync(join(root, 'etc/resolv.conf'), { force: true })
  symlinkSync('/run/forkyard/resolv.conf', join(root, 'etc/resolv.conf'))
  writeFileSync(join(root, 'etc/hostname'), 'forkyard\n')
}
