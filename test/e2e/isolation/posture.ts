/** What a process of a sandbox is to the host's kernel, and what of that it must not be. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Premises } from '../../../scripts/place.ts'

export interface Thread {
  readonly seccomp: number
  readonly noNewPrivs: number
}

export interface Posture {
  readonly pid: number
  /**
   * `sandbox`: its kernel, and what runs its processes. `gofer`: serves the one directory of the host. `umounter`: takes `/proc` away
   * from the kernel and ends, before any code runs.
   */
  readonly kind: 'sandbox' | 'gofer' | 'umounter'
  /** Real, effective, saved, file system; as the host sees them. */
  readonly uids: readonly number[]
  readonly groups: readonly number[]
  /** Bits. */
  readonly effective: bigint
  readonly permitted: bigint
  readonly bounding: bigint
  readonly threads: readonly Thread[]
  /** Namespaces that it shares with whoever asks, as the agent does. */
  readonly sharedNamespaces: readonly string[]
  /** What its descriptors lead to. */
  readonly descriptors: readonly string[]
  /** Names in its root directory. */
  readonly root: readonly string[]
}

const field = (status: string, name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? ''
const numbers = (text: string): number[] => text.split(/\s+/).filter(Boolean).map(Number)
const bits = (status: string, name: string): bigint => BigInt(`0x${field(status, name) || '0'}`)

const kindOf = (pid: number): Posture['kind'] => {
  // A fork of the kernel, which has its command line.
  if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'umounter') return 'umounter'
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('runsc-gofer\0') ? 'gofer' : 'sandbox'
}

const isolating = ['user', 'mnt', 'net', 'pid', 'ipc', 'uts']

/** @throws when the process is gone */
export const postureOf = (pid: number): Posture => {
  const at = (...names: string[]) => join('/proc', String(pid), ...names)
  const status = readFileSync(at('status'), 'utf8')
  const threads = readdirSync(at('task')).map((id) => {
    const one = readFileSync(at('task', id, 'status'), 'utf8')
    return { seccomp: Number(field(one, 'Seccomp')), noNewPrivs: Number(field(one, 'NoNewPrivs')) }
  })
  return {
    pid,
    kind: kindOf(pid),
    uids: numbers(field(status, 'Uid')),
    groups: numbers(field(status, 'Groups')),
    effective: bits(status, 'CapEff'),
    permitted: bits(status, 'CapPrm'),
    bounding: bits(status, 'CapBnd'),
    threads,
    sharedNamespaces: isolating.filter(
      (name) => readlinkSync(at('ns', name)) === readlinkSync(`/proc/self/ns/${name}`),
    ),
    descriptors: readdirSync(at('fd')).flatMap((fd) => {
      try {
        return [readlinkSync(at('fd', fd))]
      } catch {
        return []
      }
    }),
    root: readdirSync(at('root')),
  }
}

const nobody = 65_534

/** CHOWN to FSETID, SETGID, SETUID, SYS_CHROOT: in its own user namespace, over the one directory that it serves. */
const goferCapabilities = 0x400dfn

/** SETPCAP, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN: in the sandbox's user namespace, which has one user. */
const umounterCapabilities = 0x2c0100n

/** Where code and images lie on the host, and what a sandbox is made with. */
const allowedDescriptors = ({ runDir, stateDir }: Premises): RegExp[] => [
  /^\/dev\/null$/,
  /^\/memfd:(runsc-memory|systrap-memory|memory-usage|flipcall_packet_windows) \(deleted\)$/,
  /^anon_inode:\[(eventfd|eventpoll|io_uring)\]$/,
  /^anon_inode:seccomp notify$/,
  /^(pipe|socket):\[\d+\]$/,
  // The file systems of the sandbox: read-only images, told by their digest, or the instance's own copy. A cache may have dropped them since.
  /\/[0-9a-f]{64}\.erofs( \(deleted\))?$/,
  /\/checkpoints\/[a-z0-9.]+-[0-9a-f]+\/code\.erofs( \(deleted\))?$/,
  new RegExp(`^${runDir}/i/[0-9a-f]+/(code\\.erofs|b/runsc\\.log)$`),
  // Of one with a network: its own, out of the directory that its gofer serves.
  /^\/root\/run\/forkyard\/resolv\.conf$/,
  new RegExp(`^${stateDir}/node-agent/`),
  // Its own control group's settings, which it reads.
  /^\/forkyard-[^/]+\/[0-9a-f]+\/cpu\.cfs_(quota|period)_us$/,
]

/** Of the helpers besides: the bundle, and the directory that the gofer serves, which is its root, with what is in it. */
const helperDescriptors = ({ runDir }: Premises): RegExp[] => [
  /^\/(root\/run\/forkyard(\/[^/]+)?( \(deleted\))?)?$/,
  new RegExp(`^${runDir}/i/[0-9a-f]+/b/config\\.json$`),
]

/** What a process has that its kind must not have; a line each. */
export const problemsOf = (posture: Posture, premises: Premises): string[] => {
  const { kind, pid, uids, effective, permitted, bounding, threads, sharedNamespaces, descriptors, root } = posture
  const helper = kind !== 'sandbox'
  const allowed = [...allowedDescriptors(premises), ...(helper ? helperDescriptors(premises) : [])]
  const capabilities = { sandbox: 0n, gofer: goferCapabilities, umounter: umounterCapabilities }[kind]
  // With it no program gains anything by its start, whatever the bounding set says.
  const noNewPrivs = threads.every((thread) => thread.noNewPrivs === 1)
  const problems = [
    ...(threads.every(({ seccomp }) => seccomp === 2) ? [] : ['a thread without seccomp filter']),
    ...(noNewPrivs ? [] : ['a thread without noNewPrivs']),
    ...(kind === 'gofer' || uids.every((uid) => uid === nobody) ? [] : [`uid ${uids.join()}`]),
    ...(((effective | permitted) & ~capabilities) === 0n
      ? []
      : [`capabilities ${(effective | permitted).toString(16)}`]),
    ...(noNewPrivs || (bounding & ~capabilities) === 0n ? [] : [`bounding set ${bounding.toString(16)}`]),
    ...sharedNamespaces.map((name) => `namespace ${name} of the host`),
    ...descriptors.filter((path) => !allowed.some((pattern) => pattern.test(path))).map((path) => `descriptor ${path}`),
    ...(root.every((name) => ['etc', 'proc', 'run', 'root'].includes(name)) ? [] : [`root directory ${root.join()}`]),
  ]
  return problems.map((problem) => `${kind} ${pid}: ${problem}`)
}
