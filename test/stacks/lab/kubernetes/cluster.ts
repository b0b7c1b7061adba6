/**
 * A real cluster of one node, on this machine: control plane, kubelet, container runtime, names. It belongs to one process; what a killed one
 * left, the next lab removes.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node'
import { vi } from 'vitest'
import { run } from '../../../../scripts/setup/run.ts'
import { groupPrefix, labInstallation, removeLab } from '../abandoned.ts'
import { makeGroups } from '../control-groups.ts'
import { openLabPlace } from '../lab.ts'
import { makeNetwork, networkOf, type LabNetwork } from '../network.ts'
import { makePki } from './pki.ts'
import { settingsFiles, type ClusterPlace } from './settings.ts'
import { linkComponents, makePauseImage, provideClusterTools } from './tools.ts'

export interface LabCluster {
  readonly dir: string
  /** Name for an installation in it. */
  readonly installation: string
  readonly kubeconfig: string
  readonly api: KubeConfig
  /** Takes an OCI archive on stdin into the node's container runtime. */
  readonly importer: readonly string[]
  /** Where the node's `/var/lib/forkyard` lies on this machine. */
  readonly hostState: string
  remove(): Promise<void>
}

const memoryMiB = 8192

export const createCluster = async (): Promise<LabCluster> => {
  const debian = await provideClusterTools()
  const { id, dir } = await openLabPlace()
  const group = `${groupPrefix(id)}kube`
  const number = Number.parseInt(id, 16) % 256
  const network = networkOf(id)
  const address = `${network.prefix}.10`
  const place: ClusterPlace = { dir, debian, address, pods: `10.214.${number}`, services: `10.215.${number}`, group }
  try {
    for (const name of ['logs', 'certs']) mkdirSync(join(dir, name))
    linkComponents(join(dir, 'components'))
    for (const [path, text] of Object.entries(settingsFiles(place))) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      writeFileSync(join(dir, path), text)
    }
    await makePki(join(dir, 'pki'), address, place.services)
    await makePauseImage(dir, join(dir, 'pause.tar'))
    await makeNetwork(network)
    await connect(startNode(place, network), place, network)
    const kubeconfig = join(dir, 'admin.kubeconfig')
    const api = new KubeConfig()
    api.loadFromFile(kubeconfig)
    await nodeReady(api)
    return {
      dir,
      installation: labInstallation(id),
      kubeconfig,
      api,
      importer: [
        join(debian, 'usr/bin/ctr'),
        '-a',
        join(dir, 'containerd.sock'),
        '-n',
        'k8s.io',
        'image',
        'import',
        '-',
      ],
      hostState: join(dir, 'machine/forkyard'),
      remove: () => removeLab(id),
    }
  } catch (error) {
    await removeLab(id)
    throw error
  }
}

/** @returns process id of the one around the node */
const startNode = ({ dir, debian, address, services, group }: ClusterPlace, network: LabNetwork): number => {
  const joins = makeGroups(group, memoryMiB, true)
  const joining = `${joins.map((_, index) => `echo 0 > "$${index + 1}"`).join('; ')}; shift ${joins.length}; exec "$@"`
  const node = ['unshare', '--mount', '--net', '--uts', '--pid', '--fork', '--kill-child', '--mount-proc'].concat([
    '--propagation=private',
    join(import.meta.dirname, 'node.sh'),
  ])
  const log = openSync(join(dir, 'logs/node.log'), 'a')
  const env = {
    PATH: process.env['PATH'],
    DIR: dir,
    ADDRESS: address,
    GATEWAY: `${network.prefix}.1`,
    TOOLS: join(dir, 'components'),
    DEBIAN: debian,
    SERVICES: `${services}.0/24`,
  }
  const child = spawn('/bin/sh', ['-c', joining, 'sh', ...joins, ...node], {
    stdio: ['ignore', log, log],
    detached: true,
    env,
  })
  child.unref()
  if (child.pid === undefined) throw new Error('the node could not be started')
  return child.pid
}

/** Gives the node its end of a pair of interfaces, and this machine the way to pods and services. */
const connect = async (pid: number, { address, pods, services }: ClusterPlace, network: LabNetwork): Promise<void> => {
  const inner = await vi.waitFor(() => {
    const child = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]
    if (!child) throw new Error('the node has no first process')
    return child
  }, 10_000)
  const end = `${network.bridge}n`
  await run('ip', ['link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', inner])
  await run('ip', ['link', 'set', end, 'master', network.bridge, 'up'])
  for (const range of [pods, services]) await run('ip', ['route', 'add', `${range}.0/24`, 'via', address])
}

const nodeReady = async (config: KubeConfig): Promise<void> => {
  const api = config.makeApiClient(CoreV1Api)
  await vi.waitFor(
    async () => {
      const { status } = await api.readNode({ name: 'node1' })
      if (!status?.conditions?.some((found) => found.type === 'Ready' && found.status === 'True'))
        throw new Error('the node is not ready')
      await api.readNamespacedServiceAccount({ name: 'default', namespace: 'default' })
    },
    { timeout: 120_000, interval: 500 },
  )
}
