/**
 * The OCI bundle of every sandbox. A checkpoint can only be restored into a sandbox of the same shape (gVisor compares mounts,
 * process and namespaces), so the checkpoint builder and the node agent both make their bundles here.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Lambda's own sandbox user. */
export const sandboxUser = { uid: 993, gid: 990 }

/** `/tmp` of a sandbox that is restored from a checkpoint; another size needs a boot. */
export const defaultTmpMiB = 512

/** Descriptors of a process; processes and threads of a sandbox, all together. Both are Lambda's own, and end in an errno inside. */
const maxOpenFiles = 1024
const maxProcesses = 1024
export type CheckpointOf = 'runtime' | 'version'

export interface BundleInput {
  /** EROFS image of the root file system. Absolute. */
  readonly imagePath: string
  readonly command: readonly string[]
  /** Host directory with the instance's socket; seen as `/run/forkyard`, and the only thing of the host that is. */
  readonly socketDir: string
  /** Each sandbox's own, also when it is restored: gVisor takes it from the bundle that restores. */
  readonly hostname: string
  readonly tmpMiB?: number
  /** The first process waits at `/proc/gvisor/checkpoint`: of the bare runtime, or of one version, whose function is initialised. */
  readonly checkpoint?: CheckpointOf | undefined
  /**
   * Of a sandbox that is saved or restored: EROFS image on `/var/task`. A mount that is made later is not in a checkpoint, so it is
   * one of the bundle's; the bare runtime's is empty, and its function's code is mounted over it.
   */
  readonly codePath?: string | undefined
  /** `NAME=value` of the first process, beyond what every one has. */
  readonly environment?: readonly string[]
}

/** Flags of every `runsc` call; part of a checkpoint's key. */
export const runscFlags = [
  '--network=none',
  '--host-uds=open',
  '--file-access-mounts=shared',
  '--platform=systrap',
  '--overlay2=none',
  // The agent makes and owns the cgroups (sandbox/cgroup.ts); runsc starts inside them.
  '--ignore-cgroups',
  // The sandbox's own process opens no file of the host, so it needs no identity there: it is nobody, and has no capability.
  '--directfs=false',
] as const

const rlimit = (type: string, limit: number) => ({ type, soft: limit, hard: limit })

const everyId = [{ containerID: 0, hostID: 0, size: 2 ** 32 - 1 }]

const mount = (destination: string, type: string, options: string[]) => ({ destination, type, source: type, options })

export const ociSpec = (input: BundleInput, rootDir: string): Record<string, unknown> => ({
  ociVersion: '1.0.2',
  process: {
    user: sandboxUser,
    args: input.command,
    env: [
      'PATH=/usr/local/bin:/usr/bin:/bin',
      'HOME=/tmp',
      'LANG=C.UTF-8',
      'TZ=UTC',
      ...(input.checkpoint ? [`FORKYARD_CHECKPOINT=${input.checkpoint}`] : []),
      ...(input.environment ?? []),
    ],
    cwd: '/',
    noNewPrivileges: true,
    capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
    rlimits: [rlimit('RLIMIT_NOFILE', maxOpenFiles), rlimit('RLIMIT_NPROC', maxProcesses)],
  },
  root: { path: rootDir, readonly: true },
  hostname: input.hostname,
  mounts: [
    mount('/proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
    mount('/tmp', 'tmpfs', ['nosuid', 'nodev', 'mode=1777', `size=${input.tmpMiB ?? defaultTmpMiB}m`]),
    { destination: '/run/forkyard', type: 'bind', source: input.socketDir, options: ['rbind', 'ro'] },
    ...(input.codePath === undefined
      ? []
      : [{ destination: '/var/task', type: 'erofs', source: input.codePath, options: ['ro'] }]),
  ],
  linux: {
    // The user namespace is the gofer's, which serves the socket directory: what it may, it may in there alone.
    namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'user'].map((type) => ({ type })),
    uidMappings: everyId,
    gidMappings: everyId,
  },
  annotations: {
    'dev.gvisor.spec.rootfs.source': input.imagePath,
    'dev.gvisor.spec.rootfs.type': 'erofs',
    ...(input.checkpoint ? { 'dev.gvisor.internal.checkpoint.enable': 'true' } : {}),
  },
})

/** Of a bundle. gVisor wants a root path even when the image replaces it. */
export const makeBundleDir = (dir: string): void => void mkdirSync(join(dir, 'rootfs'), { recursive: true })

/** Writes the bundle into `dir`, which `makeBundleDir` made. Its path must be absolute. */
export const writeBundle = (dir: string, input: BundleInput): void => {
  writeFileSync(join(dir, 'config.json'), JSON.stringify(ociSpec(input, join(dir, 'rootfs'))))
}
