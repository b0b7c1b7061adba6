/** The target `kubernetes` on a real cluster, from nothing to nothing left, through accidents on the way. The tests are one story, in order. */
import { existsSync, mkdirSync, readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { LambdaClient } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { UpResult } from '../../scripts/stack.ts'
import { lambdaClient as clientOf } from '../../services/cli/connection.ts'
import { cgroupDirs } from '../../stacks/host-scripts/leftovers.ts'
import { createFunction, invoke, lambdaClient } from '../support/lambda.ts'
import { createCluster, type LabCluster } from './lab/kubernetes/cluster.ts'
import {
  apps,
  core,
  defineMonitors,
  makeVolume,
  monitorNames,
  podReport,
  readyPods,
  serviceUrl,
} from './lab/kubernetes/look.ts'
import { LabStack } from './lab/lab-stack.ts'

const say = (line: string): void => void writeSync(2, `kubernetes: ${line}\n`)

let cluster: LabCluster
let stack: LabStack
let namespace: string
let client: LambdaClient

const echo =
  'export const handler = async (event) => ({ got: event.word, instance: process.env.AWS_LAMBDA_LOG_STREAM_NAME })'
const expectAnswer = async (): Promise<void> =>
  expect((await invoke(client, 'echo', { word: 'pod' })).json).toMatchObject({ got: 'pod' })

const kinds = ({ changes }: UpResult): string[] => Object.keys(changes)
const timed = async <T>(what: string, action: () => Promise<T>): Promise<T> => {
  const start = performance.now()
  const result = await action()
  say(`${what}: ${((performance.now() - start) / 1000).toFixed(1)} s`)
  return result
}
const up = async (what: string): Promise<UpResult> => {
  const result = await timed(what, () =>
    stack.up().catch(async (error: Error) => {
      say(await podReport(cluster.api, namespace))
      throw error
    }),
  )
  say(`${what}: ${JSON.stringify(result.changes)}`)
  return result
}

const inLab = (more: object = {}) => {
  const { kubeconfig, importer } = cluster
  return { kubeconfig, importers: [importer], storageClass: 'lab', storage: '1Gi', ...more }
}
const connect = async (): Promise<void> => {
  const endpoint = await serviceUrl(cluster.api, namespace, 'gateway')
  client = lambdaClient({ ...stack.connection, endpoint })
}

const makeVolumes = async (...names: string[]): Promise<void> => {
  for (const name of names) {
    const path = join(cluster.dir, 'volumes', name)
    mkdirSync(path, { recursive: true })
    await makeVolume(cluster.api, name, path)
  }
}

beforeAll(async () => {
  cluster = await timed('a cluster', createCluster)
  await core(cluster.api).patchNode({
    name: 'node1',
    body: [{ op: 'add', path: '/metadata/labels/forkyard~1node', value: 'true' }],
  })
  await makeVolumes('first')
  stack = new LabStack({ dir: cluster.dir, privateKey: '' }, cluster.installation, say, 'kubernetes')
  namespace = `forkyard-${stack.installation}`
  stack.configure({ runtimes: ['nodejs24.x'], nodeMemoryMiB: 1024, nodeInstances: 8, kubernetes: inLab() })
}, 600_000)

afterAll(async () => {
  stack?.forget()
  await cluster?.remove()
}, 120_000)

describe('in a bare cluster', () => {
  it('up makes an installation that runs a function, reached through its Service', async () => {
    await up('first up')
    await connect()
    await createFunction(client, 'echo', echo)
    await expectAnswer()
  })

  it('a second up changes nothing', async () => {
    expect(kinds(await up('second up'))).toEqual(['unchanged'])
  })

  it('no secret of the installation is in the state in the clear', () => {
    const { secretAccessKey } = stack.connection
    expect(secretAccessKey.length).toBeGreaterThan(30)
    expect(stack.state).not.toContain(secretAccessKey)
    expect(stack.state).not.toContain('PRIVATE KEY')
    expect(stack.state).toContain('ciphertext')
  })

  it('only the agent is privileged; every other container has no rights and a file system that it cannot write to', async () => {
    const { items } = await core(cluster.api).listNamespacedPod({ namespace })
    const containers = items.flatMap(({ spec }) => [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])])
    const privileged = containers.filter(({ securityContext }) => securityContext?.privileged === true)
    expect(new Set(privileged.map(({ name }) => name))).toEqual(new Set(['prepare', 'node-agent']))
    for (const { name, securityContext } of containers.filter((found) => !privileged.includes(found)))
      expect([name, securityContext]).toMatchObject([
        name,
        { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      ])
  })
})

describe('an accident', () => {
  it('that kills the agent’s pod is over when its DaemonSet has made another; the checkpoints on the node stay', async () => {
    const [before] = await readyPods(cluster.api, namespace, 'node-agent')
    const checkpoints = join(cluster.hostState, stack.installation, 'checkpoints')
    const made = readdirSync(checkpoints)
    expect(made).toHaveLength(1)
    await core(cluster.api).deleteNamespacedPod({
      name: before?.metadata?.name ?? '',
      namespace,
      gracePeriodSeconds: 0,
    })
    await timed('agent again', () =>
      vi.waitFor(
        async () => {
          const [after] = await readyPods(cluster.api, namespace, 'node-agent')
          expect(after?.metadata?.uid).toBeDefined()
          expect(after?.metadata?.uid).not.toBe(before?.metadata?.uid)
          await expectAnswer()
        },
        { timeout: 120_000, interval: 500 },
      ),
    )
    expect(readdirSync(checkpoints)).toEqual(made)
  })

  it('that takes the server of NATS loses no function', async () => {
    const [before] = await readyPods(cluster.api, namespace, 'nats')
    await core(cluster.api).deleteNamespacedPod({ name: 'nats-0', namespace, gracePeriodSeconds: 0 })
    await vi.waitFor(
      async () => {
        const [after] = await readyPods(cluster.api, namespace, 'nats')
        expect(after?.metadata?.uid).not.toBe(before?.metadata?.uid)
        expect(after).toBeDefined()
        await expectAnswer()
      },
      { timeout: 120_000, interval: 500 },
    )
  })

  it('that kills the engine is mended by the next up', async () => {
    stack.configure({ logLevel: 'debug' })
    await stack.upKilledAt(/Deployment/)
    await up('up after a killed one')
    expect(kinds(await up('and again'))).toEqual(['unchanged'])
    await expectAnswer()
  })
})

describe('a change of every service, under load', () => {
  it('rolls through the pods and fails no request of a client that tries again', async () => {
    const endpoint = await serviceUrl(cluster.api, namespace, 'gateway')
    const patient = clientOf({ ...stack.connection, endpoint }, 10)
    const calls: Promise<unknown>[] = []
    const load = setInterval(() => calls.push(invoke(patient, 'echo', { word: 'pod' })), 300)
    stack.configure({ logLevel: 'info' })
    const { changes } = await up('a setting of every service changed').finally(() => clearInterval(load))
    // A Secret and a workload each.
    expect(changes).toMatchObject({ updated: 6 })
    const failed = (await Promise.allSettled(calls)).filter(({ status }) => status === 'rejected')
    say(`${calls.length} requests, ${failed.length} failed`)
    expect(failed).toEqual([])
    expect(calls.length).toBeGreaterThan(10)
  })
})

describe('destroy', () => {
  it('leaves the cluster and the node as they were, but for images that nobody uses', async () => {
    expect(existsSync(join(cluster.hostState, stack.installation))).toBe(true)
    await timed('destroy', () => stack.down())
    const { items } = await core(cluster.api).listNamespace()
    const own = ['default', 'kube-node-lease', 'kube-public', 'kube-system']
    expect(new Set(items.map(({ metadata }) => metadata?.name))).toEqual(new Set(own))
    expect((await apps(cluster.api).listDaemonSetForAllNamespaces()).items).toEqual([])
    expect(readdirSync(cluster.hostState)).toEqual([])
    expect(cgroupDirs(stack.installation)).toEqual([])
    expect(stack.exists).toBe(false)
  })
})

describe('with three servers of NATS, an Ingress, and Prometheus Operator in the cluster', () => {
  it('up makes what these need', async () => {
    await makeVolumes('one', 'two', 'three')
    await defineMonitors(cluster.api)
    const kubernetes = inLab({ natsServers: 3, gateways: 1, host: 'functions.test', ingressClass: 'none' })
    stack.configure({ kubernetes })
    await up('up with everything')
    expect(await readyPods(cluster.api, namespace, 'nats')).toHaveLength(3)
    expect(new Set(await monitorNames(cluster.api, namespace))).toEqual(new Set(['gateway', 'node-agent', 'scheduler']))
    expect(stack.connection.endpoint).toBe('http://functions.test')
    expect(kinds(await up('and again'))).toEqual(['unchanged'])
  })

  it('a server that is lost takes nothing along', async () => {
    await connect()
    await createFunction(client, 'echo', echo)
    await core(cluster.api).deleteNamespacedPod({ name: 'nats-1', namespace, gracePeriodSeconds: 0 })
    await expectAnswer()
    await vi.waitFor(async () => expect(await readyPods(cluster.api, namespace, 'nats')).toHaveLength(3), {
      timeout: 120_000,
      interval: 500,
    })
    await expectAnswer()
  })

  it('destroy leaves nothing', async () => {
    await timed('destroy of everything', () => stack.down())
    expect(readdirSync(cluster.hostState)).toEqual([])
    expect(cgroupDirs(stack.installation)).toEqual([])
  })
})
