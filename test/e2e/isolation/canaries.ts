/** Things on the host that no function may find, read, change or reach, and what tells that one did. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Premises } from '../../../scripts/place.ts'

export interface Canaries {
  /** What the probe is told: it gets every hint that helps. */
  readonly event: Readonly<Record<string, unknown>>
  /** What must not be seen anywhere. */
  readonly words: readonly string[]
  /** What was touched or reached since they were set out. */
  harm(): string[]
  remove(): Promise<void>
}

const handleOf = `
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(8 + 128)
ctypes.memmove(buffer, (128).to_bytes(4, "little"), 4)
mount = ctypes.c_int()
if libc.name_to_handle_at(-100, sys.argv[1].encode(), buffer, ctypes.byref(mount), 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
size = int.from_bytes(buffer.raw[:4], "little")
print(json.dumps([int.from_bytes(buffer.raw[4:8], "little"), buffer.raw[8:8 + size].hex()]))
`

const listening = (server: Server, ...where: [string] | [number, string]): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(...(where as [number, string]), resolve)
  })

const word = (of: string): string => `canary-${of}-${randomBytes(12).toString('hex')}`

const stateOf = (file: string): string => {
  const { ino, mtimeMs, ctimeMs, mode } = statSync(file)
  return JSON.stringify([ino, mtimeMs, ctimeMs, mode, readFileSync(file, 'utf8')])
}

export const setOut = async ({ stateDir, runDir }: Premises): Promise<Canaries> => {
  const fileWord = word('file')
  const environmentWord = word('environment')
  const socketWord = word('socket')
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-canary-'))
  const files = [join(stateDir, 'canary'), join(runDir, 'canary'), join(dir, 'canary')]
  for (const file of files) writeFileSync(file, fileWord)
  const [first = ''] = files
  const handle = spawnSync('python3', ['-c', handleOf, first], { encoding: 'utf8' })
  if (handle.status !== 0) throw new Error(`no handle of ${first}: ${handle.stderr}`)

  const holder: ChildProcess = spawn('sleep', ['100000'], { env: { CANARY: environmentWord }, stdio: 'ignore' })
  let reached = 0
  const serve = () =>
    createServer((socket) => {
      reached++
      socket.on('error', () => undefined).end(socketWord)
    })
  const servers = [serve(), serve(), serve()] as const
  const [abstractServer, tcp, path] = servers
  const abstract = `forkyard-${randomBytes(6).toString('hex')}`
  const socket = join(dir, 's')
  await listening(abstractServer, `\0${abstract}`)
  await listening(tcp, 0, '127.0.0.1')
  await listening(path, socket)
  const { port } = tcp.address() as { port: number }

  const machine = () => ({
    ...Object.fromEntries(files.map((file) => [file, stateOf(file)])),
    'host name': hostname(),
    'core pattern': readFileSync('/proc/sys/kernel/core_pattern', 'utf8'),
    'process with the environment': holder.exitCode === null && holder.signalCode === null ? 'runs' : 'ended',
    'connections to the host': String(reached),
  })
  const before = machine()
  const words = [fileWord, environmentWord, socketWord]
  return {
    words,
    event: {
      words,
      paths: files,
      handle: JSON.parse(handle.stdout) as unknown,
      abstract,
      port,
      socket,
      writable: [...files, '/var/task/probe', '/etc/passwd', '/usr/bin/probe', '/run/forkyard/probe', '/sys/probe'],
    },
    harm: () => Object.entries(machine()).flatMap(([what, now]) => (now === Reflect.get(before, what) ? [] : [what])),
    remove: async () => {
      holder.kill('SIGKILL')
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
      for (const file of [...files, dir]) rmSync(file, { recursive: true, force: true })
    },
  }
}
