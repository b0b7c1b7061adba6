/** One machine of a lab's cluster, in namespaces of its own on this one. The first is the control plane too. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { vi } from 'vitest'
import { run } from '../../../../scripts/setup/run.ts'
import { cgroupParent } from '../../../../stacks/host-scripts/leftovers.ts'
import { groupDirs, makeGroups } from '../control-groups.ts'
import type { LabNetwork } from '../network.ts'
import { settingsFiles, type NodePlace } from './settings.ts'
import { linkComponents } from './tools.ts'

const memoryMiB = 8192

/** Of another node: the way to its pods. */
export type Route = Pick<NodePlace, 'pods' | 'address'>

export class LabNode {
  readonly name: string
  /** Where its `/var/lib/forkyard` lies on this machine. */
  readonly hostState: string
  /** Takes an OCI archive on stdin into its container runtime. */
  readonly importer: readonly string[]
  readonly #place: NodePlace

  constructor(place: NodePlace) {
    const { name, dir, debian } = place
    this.name = name
    this.hostState = join(dir, 'machine/forkyard')
    const client = [join(debian, 'usr/bin/ctr'), '-a', join(dir, 'containerd.sock'), '-n', 'k8s.io']
    this.importer = [...client, 'image', 'import', '-']
    this.#place = place
  }

  /** Control groups that an installation has on it. */
  groupsOf(installation: string): string[] {
    return groupDirs(this.#place.group)
      .map((dir) => join(dir, cgroupParent(installation)))
      .filter((dir) => existsSync(dir))
  }

  /** Checkpoints of an installation on it, by name. */
  checkpointsOf(installation: string): string[] {
    return readdirSync(join(this.hostState, installation, 'checkpoints'))
  }

  /** @param pki of the cluster @param routes to all other nodes */
  async start(network: LabNetwork, pki: string, routes: readonly Route[]): Promise<void> {
    const { dir, address, pods } = this.#place
    for (const name of ['logs', 'certs']) mkdirSync(join(dir, name), { recursive: true })
    linkComponents(join(dir, 'components'))
    symlinkSync(pki, join(dir, 'pki'))
    for (const [path, text] of Object.entries(settingsFiles(this.#place))) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      writeFileSync(join(dir, path), text)
    }
    await connect(this.#spawn(network, routes), this.name, network)
    await run('ip', ['route', 'add', pods, 'via', address])
  }

  /** @returns process id of the one around the node */
  #spawn(network: LabNetwork, routes: readonly Route[]): number {
    const { name, dir, debian, address, control, services, group } = this.#place
    const joins = makeGroups(group, memoryMiB, true)
    const joining = `${joins.map((_, index) => `echo 0 > "$\{${index + 1}}"`).join('; ')}; shift ${joins.length}; exec "$@"`
    const namespaces = ['--mount', '--net', '--uts', '--cgroup', '--pid', '--fork', '--kill-child', '--mount-proc']
    const node = ['unshare', ...namespaces, '--propagation=private', join(import.meta.dirname, 'node.sh')]
    const log = openSync(join(dir, 'logs/node.log'), 'a')
    const env = {
      PATH: process.env['PATH'],
      NODE: name,
      DIR: dir,
      ADDRESS: address,
      GATEWAY: `${network.prefix}.1`,
      CONTROL: control,
      ROUTES: routes.map((route) => `${route.pods}=${route.address}`).join(' '),
      TOOLS: join(dir, 'components'),
      DEBIAN: debian,
      SERVICES: services,
    }
    const child = spawn('/bin/sh', ['-c', joining, 'sh', ...joins, ...node], {
      stdio: ['ignore', log, log],
      detached: true,
      env,
    })
    child.unref()
    if (child.pid === undefined) throw new Error(`the node ${name} could not be started`)
    return child.pid
  }
}

/** Gives the node its end of a pair of interfaces. */
const connect = async (pid: number, name: string, network: LabNetwork): Promise<void> => {
  const inner = await vi.waitFor(() => {
    const child = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]
    if (!child) throw new Error('the node has no first process')
    return child
  }, 10_000)
  const end = `${network.bridge}${name.slice(-1)}`
  await run('ip', ['link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', inner])
  await run('ip', ['link', 'set', end, 'master', network.bridge, 'up'])
}
