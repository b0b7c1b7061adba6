/**
 * A real cluster on this machine: control plane, kubelets, container runtimes, names. It begins with one node and can have another. It belongs to one
 * process; what a killed one left, the next lab removes.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node'
import { vi } from 'vitest'
import { run } from '../../../../scripts/setup/run.ts'
import { groupPrefix, labInstallation, removeLab } from '../abandoned.ts'
import { openLabPlace } from '../lab.ts'
import { makeNetwork, networkOf, type LabNetwork } from '../network.ts'
import { LabNode } from './lab-node.ts'
import { makePki } from './pki.ts'
import type { NodePlace } from './settings.ts'
import { makePauseImage, provideClusterTools } from './tools.ts'

export interface LabCluster {
  readonly dir: string
  /** Name for an installation in it. */
  readonly installation: string
  readonly kubeconfig: string
  readonly api: KubeConfig
  /** The control plane, which is a node as well. */
  readonly first: LabNode
  /** Starts the other node. @returns when it is ready */
  grow(): Promise<LabNode>
  remove(): Promise<void>
}

export const createCluster = async (): Promise<LabCluster> => {
  const debian = await provideClusterTools()
  const { id, dir } = await openLabPlace()
  const network = networkOf(id)
  const [one, two] = placesOf(id, { dir, debian, network })
  const pki = join(dir, 'pki')
  try {
    await makePki(pki, [one, two], one.services.replace(/0\/24$/, '1'))
    await makePauseImage(dir, join(dir, 'pause.tar'))
    await makeNetwork(network)
    await run('ip', ['route', 'add', one.services, 'via', one.address])
    const first = new LabNode(one)
    await first.start(network, pki, [two])
    const kubeconfig = join(one.dir, 'admin.kubeconfig')
    const api = new KubeConfig()
    api.loadFromFile(kubeconfig)
    await nodeReady(api, one.name)
    const grow = async (): Promise<LabNode> => {
      const second = new LabNode(two)
      await second.start(network, pki, [one])
      await nodeReady(api, two.name)
      return second
    }
    return { dir, installation: labInstallation(id), kubeconfig, api, first, grow, remove: () => removeLab(id) }
  } catch (error) {
    await removeLab(id)
    throw error
  }
}

interface Ground {
  readonly dir: string
  readonly debian: string
  readonly network: LabNetwork
}

/** Whether they are started or not, the nodes know of each other. */
const placesOf = (id: string, { dir, debian, network }: Ground): [NodePlace, NodePlace] => {
  const number = Number.parseInt(id, 16) % 256
  const place = (at: 0 | 1): NodePlace => {
    const name = `node${at + 1}`
    mkdirSync(join(dir, name))
    return {
      name,
      dir: join(dir, name),
      debian,
      address: `${network.prefix}.${10 + at}`,
      control: `${network.prefix}.10`,
      pods: `10.214.${number}.${at * 128}/25`,
      allPods: `10.214.${number}.0/24`,
      services: `10.215.${number}.0/24`,
      group: `${groupPrefix(id)}${name}`,
    }
  }
  return [place(0), place(1)]
}

const nodeReady = async (config: KubeConfig, name: string): Promise<void> => {
  const api = config.makeApiClient(CoreV1Api)
  await vi.waitFor(
    async () => {
      const { status } = await api.readNode({ name })
      if (!status?.conditions?.some((found) => found.type === 'Ready' && found.status === 'True'))
        throw new Error('the node is not ready')
      await api.readNamespacedServiceAccount({ name: 'default', namespace: 'default' })
    },
    { timeout: 120_000, interval: 500 },
  )
}
