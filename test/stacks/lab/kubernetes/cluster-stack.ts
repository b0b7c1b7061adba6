/** An installation in a lab's cluster, and what tests do to both. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import type { UpResult } from '../../../../scripts/stack.ts'
import type { Connection } from '../../../../services/cli/connection.ts'
import { signedFetch } from '../../../../services/cli/signed-fetch.ts'
import type { NodeView } from '../../../../services/scheduler/routes/nodes.ts'
import { LabStack } from '../lab-stack.ts'
import { createCluster, type LabCluster } from './cluster.ts'
import type { LabNode } from './lab-node.ts'
import { core, makeVolume, podReport, readyPods, serviceUrl } from './look.ts'

type Say = (line: string) => void

export class ClusterStack {
  readonly cluster: LabCluster
  /** Those that are up. */
  readonly nodes: LabNode[]
  readonly stack: LabStack
  readonly namespace: string
  readonly #say: Say

  private constructor(cluster: LabCluster, say: Say) {
    this.cluster = cluster
    this.nodes = [cluster.first]
    this.stack = new LabStack({ dir: cluster.dir, privateKey: '' }, cluster.installation, say, 'kubernetes')
    this.namespace = `forkyard-${this.stack.installation}`
    this.#say = say
  }

  /** A bare cluster of one node, whose label is there. @param volumes for servers of NATS */
  static async create(say: Say, volumes: number): Promise<ClusterStack> {
    const made = new ClusterStack(await createCluster(), say)
    await made.label(made.cluster.first)
    for (let at = 0; at < volumes; at++) await made.#makeVolume(`volume-${at}`)
    made.configure()
    return made
  }

  /** @param more of `forkyard:kubernetes` */
  configure(more: object = {}): void {
    const { kubeconfig } = this.cluster
    const importers = this.nodes.map(({ importer }) => importer)
    const kubernetes = { kubeconfig, importers, storageClass: 'lab', storage: '1Gi', ...more }
    this.stack.configure({ runtimes: ['nodejs24.x'], nodeMemoryMiB: 1024, nodeInstances: 8, kubernetes })
  }

  async up(): Promise<UpResult> {
    try {
      return await this.stack.up()
    } catch (error) {
      this.#say(await podReport(this.cluster.api, this.namespace))
      throw error
    }
  }

  /** Through the Service. */
  async connection(): Promise<Connection> {
    const endpoint = await serviceUrl(this.cluster.api, this.namespace, 'gateway')
    return { ...this.stack.connection, endpoint }
  }

  async label({ name }: LabNode): Promise<void> {
    const body = [{ op: 'add', path: '/metadata/labels/forkyard~1node', value: 'true' }]
    await core(this.cluster.api).patchNode({ name, body })
  }

  /** As the platform itself sees its nodes. */
  async nodeViews(): Promise<NodeView[]> {
    const reply = await signedFetch(await this.connection(), { path: '/forkyard/v1/status' })
    return ((await reply.json()) as { nodes: NodeView[] }).nodes
  }

  /** No grace: as when its machine is lost. */
  async losePod(name: string): Promise<void> {
    await core(this.cluster.api).deleteNamespacedPod({ name, namespace: this.namespace, gracePeriodSeconds: 0 })
  }

  async pods(name: string): Promise<{ readonly name: string; readonly uid: string }[]> {
    const found = await readyPods(this.cluster.api, this.namespace, name)
    return found.map(({ metadata }) => ({ name: metadata?.name ?? '', uid: metadata?.uid ?? '' }))
  }

  async ready(name: string, count: number): Promise<void> {
    const options = { timeout: 120_000, interval: 500 }
    await vi.waitFor(async () => expect(await this.pods(name)).toHaveLength(count), options)
  }

  /** Of the installation, on any node. */
  get leftOnNodes(): string[] {
    return this.nodes.flatMap((node) => [...readdirSync(node.hostState), ...node.groupsOf(this.stack.installation)])
  }

  async remove(): Promise<void> {
    this.stack.forget()
    await this.cluster.remove()
  }

  async #makeVolume(name: string): Promise<void> {
    const path = join(this.cluster.dir, 'volumes', name)
    mkdirSync(path, { recursive: true })
    await makeVolume(this.cluster.api, name, path)
  }
}
