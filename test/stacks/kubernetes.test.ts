/** The target `kubernetes` on a real cluster, from nothing to nothing left, through accidents on the way. The tests are one story, in order. */
import { existsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { LambdaClient } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { repoRoot } from '../../scripts/setup/paths.ts'
import type { UpResult } from '../../scripts/stack.ts'
import { createFunction, invoke, lambdaClient } from '../support/lambda.ts'
import { ClusterStack } from './lab/kubernetes/cluster-stack.ts'
import { apps, core } from './lab/kubernetes/look.ts'
import { expectFunctionCall } from './lab/function-call.ts'
import { underLoad } from './lab/load.ts'
import { later, nextVersion, version } from './lab/next-version.ts'

const say = (line: string): void => void writeSync(2, `kubernetes: ${line}\n`)

let lab: ClusterStack
let client: LambdaClient

const echo = 'export const handler = async (event) => ({ got: event.word })'
const slow =
  'export const handler = async () => { await new Promise((done) => setTimeout(done, 3_000)); return { slept: true } }'
const expectAnswer = async (): Promise<void> =>
  expect((await invoke(client, 'echo', { word: 'pod' })).json).toEqual({ got: 'pod' })

const kinds = ({ changes }: UpResult): string[] => Object.keys(changes)
/** Until it holds; everything here takes the time that it takes. */
const eventually = (check: () => Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 120_000, interval: 500 })

beforeAll(async () => {
  lab = await ClusterStack.create(say, 1)
}, 600_000)

afterAll(async () => {
  await lab?.remove()
}, 120_000)

describe('a first update that is killed again and again', () => {
  it.each(['StatefulSet nats', 'DaemonSet node-agent', 'Deployment gateway'])(
    '(%s) leaves what the next one goes on from',
    async (resource) => {
      await lab.stack.upKilledAt(new RegExp(`${resource}\\s+creating`))
    },
  )
})

describe('in a bare cluster', () => {
  it('up makes an installation that runs a function, reached through its Service', async () => {
    await lab.up()
    client = lambdaClient(await lab.connection())
    await createFunction(client, 'echo', echo)
    await expectAnswer()
  })

  it('a function calls another, by way of the Service for nodes', async () =>
    expectFunctionCall(await lab.connection()))

  it('a second up changes nothing', async () => {
    expect(kinds(await lab.up())).toEqual(['unchanged'])
  })

  it('no secret of the installation is in the state in the clear', () => {
    const { secretAccessKey } = lab.stack.connection
    expect(secretAccessKey.length).toBeGreaterThan(30)
    expect(lab.stack.state).not.toContain(secretAccessKey)
    expect(lab.stack.state).not.toContain('PRIVATE KEY')
    expect(lab.stack.state).toContain('ciphertext')
  })

  it('only the agent is privileged; every other container has no rights and a file system that it cannot write to', async () => {
    const { items } = await core(lab.cluster.api).listNamespacedPod({ namespace: lab.namespace })
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
  it.each(['node-agent', 'nats'])(
    'that kills the only pod of %s is over when there is another; what it kept is there',
    async (name) => {
      const checkpoints = lab.cluster.first.checkpointsOf(lab.stack.installation)
      expect(checkpoints).toHaveLength(1)
      const [before] = await lab.pods(name)
      await lab.losePod(before?.name ?? '')
      await eventually(async () => {
        const [after] = await lab.pods(name)
        expect(after?.uid).toBeDefined()
        expect(after?.uid).not.toBe(before?.uid)
        await expectAnswer()
      })
      expect(lab.cluster.first.checkpointsOf(lab.stack.installation)).toEqual(checkpoints)
    },
  )

  it('that takes either scheduler fails no request, of a running instance or of one to be started', async () => {
    for (const { name } of await lab.pods('scheduler')) {
      await lab.losePod(name)
      await expectAnswer()
      await invoke(client, 'echo', {}, { start: 'boot' })
      await lab.ready('scheduler', 2)
    }
  })
})

describe('an update that is killed', () => {
  it.each([
    ['Secret scheduler', 'debug'],
    ['Deployment scheduler', 'warn'],
    ['DaemonSet node-agent', 'info'],
  ])('(%s) is finished by the next up', async (resource, logLevel) => {
    lab.stack.configure({ logLevel })
    await lab.stack.upKilledAt(new RegExp(`${resource}\\s+updating`))
    await lab.up()
    await expectAnswer()
  })

  it('and nothing is left to do', async () => {
    expect(kinds(await lab.up())).toEqual(['unchanged'])
  })
})

describe('what somebody changes by hand', () => {
  it('is found by a refresh, and made again', async () => {
    await apps(lab.cluster.api).patchNamespacedDeployment({
      name: 'gateway',
      namespace: lab.namespace,
      fieldManager: 'somebody',
      body: [{ op: 'replace', path: '/spec/replicas', value: 1 }],
    })
    expect((await lab.stack.refresh()).changes).toMatchObject({ updated: 1 })
    expect((await lab.up()).changes).toMatchObject({ updated: 1 })
    await lab.ready('gateway', 2)
    expect(kinds(await lab.up())).toEqual(['unchanged'])
  })
})

describe('one more node', () => {
  it('gets the images by an up that touches nothing else, and an agent by its label', async () => {
    const second = await lab.cluster.grow()
    lab.nodes.push(second)
    lab.configure()
    // An import of each image.
    expect((await lab.up()).changes).toMatchObject({ created: 4 })
    await lab.label(second)
    await lab.ready('node-agent', 2)
    await eventually(async () => expect((await lab.nodeViews()).filter(({ accepting }) => accepting)).toHaveLength(2))
    expect(kinds(await lab.up())).toEqual(['unchanged'])
  })

  it('takes invocations: more at a time than one node can', async () => {
    await createFunction(client, 'slow', slow)
    const calls = Array.from({ length: 12 }, () => invoke(client, 'slow', {}, { start: 'restore' }))
    for (const { json } of await Promise.all(calls)) expect(json).toEqual({ slept: true })
    expect((await lab.nodeViews()).filter(({ instances }) => instances.length > 0)).toHaveLength(2)
  })
})

const upUnderLoad = async (): Promise<void> => {
  const load = { connection: await lab.connection(), name: 'echo', say }
  const { calls, failed } = await underLoad(load, () => lab.up())
  expect(failed).toEqual([])
  expect(calls).toBeGreaterThan(10)
}

describe('the next version', () => {
  it('rolls through the pods under load without a failed request; new checkpoints on each node, NATS as it was', async () => {
    const { installation } = lab.stack
    const nats = await lab.pods('nats')
    const before = new Set(lab.nodes.flatMap((node) => node.checkpointsOf(installation)))
    lab.stack.useTree((await nextVersion(join(lab.cluster.dir, 'newer'), 'nodejs24.x')).dir)
    await upUnderLoad()
    expect(lab.stack.outputs.version).toBe(later(1))
    expect(await lab.pods('nats')).toEqual(nats)
    for (const node of lab.nodes)
      expect(node.checkpointsOf(installation).filter((name) => !before.has(name))).not.toEqual([])
    expect(kinds(await lab.up())).toEqual(['unchanged'])
  })

  it('is taken back by the up of the old commit, under load as well', async () => {
    lab.stack.useTree(repoRoot)
    await upUnderLoad()
    expect(lab.stack.outputs.version).toBe(version)
    await expectAnswer()
    expect(kinds(await lab.up())).toEqual(['unchanged'])
  })
})

describe('destroy', () => {
  it('takes nothing while data is protected, and with plain Pulumi no data', async () => {
    lab.stack.configure({ protectData: true })
    await lab.up()
    await expect(lab.stack.down()).rejects.toThrow(/protects .*nats.*: nothing is taken away/)
    await expectAnswer()
    const nats = await lab.pods('nats')
    await expect(lab.stack.destroyWithEngine()).rejects.toThrow(/protected/)
    expect(await lab.pods('gateway')).toEqual([])
    expect(await lab.pods('nats')).toEqual(nats)
    lab.stack.configure({ protectData: false })
    await lab.up()
    client = lambdaClient(await lab.connection())
    await expectAnswer()
  })

  it('leaves the cluster and its nodes as they were, but for images that nobody uses', async () => {
    for (const node of lab.nodes) expect(existsSync(join(node.hostState, lab.stack.installation))).toBe(true)
    await lab.stack.down()
    const { items } = await core(lab.cluster.api).listNamespace()
    const own = ['default', 'kube-node-lease', 'kube-public', 'kube-system']
    expect(new Set(items.map(({ metadata }) => metadata?.name))).toEqual(new Set(own))
    expect((await apps(lab.cluster.api).listDaemonSetForAllNamespaces()).items).toEqual([])
    expect(lab.leftOnNodes).toEqual([])
    expect(lab.stack.exists).toBe(false)
  })
})
