/**
 * Where code comes from on several nodes: from other nodes before the store, whatever they do wrong, and ahead of the first request; and starts go
 * where files are. Nothing but the answers, the files and the services' own metrics is looked at.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { jetstream } from '@nats-io/jetstream'
import { Objm } from '@nats-io/obj'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import { buckets, imageObject } from '../../../services/contracts/subjects.ts'
import { fileDigest } from '../../../services/node-agent/file-digests.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type Connection } from '../../support/lambda.ts'
import { codeImagePath } from '../../../services/contracts/code-images.ts'
import { protocolHeaders } from '../../../services/contracts/protocol.ts'
import { configOf, metricOf, metricsOf, natsOf, serviceRequest } from '../host.ts'
import { installation } from '../installation.ts'
import { nodeNames, type NodeName } from './fleet-place.ts'
import { connectionOf, createFleet, nodesOf, signal, untilAllReport, untilReplaced, type Fleet } from './fleet.ts'

const target = installation()
/** Each invocation is a start. */
const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }
const uses = 'forkyard_node_code_image_uses_total'
const failures = 'forkyard_node_code_image_peer_failures_total'

let fleet: Fleet
let connection: Connection

const begin = async (prefetch: boolean, alone?: NodeName): Promise<void> => {
  fleet = await createFleet(
    target,
    { memoryMiB: 2048, instances: 16 },
    // One of them knows no other, for comparison.
    { node: (name) => ({ prefetch, ...(name === alone ? { peers: undefined } : {}) }) },
  )
  connection = connectionOf(target, fleet.gateways[0])
  await untilAllReport(fleet)
  await vi.waitFor(
    async () => {
      for (const name of nodeNames.filter((each) => each !== alone))
        expect(await metric(name, 'forkyard_node_code_image_peers')).toBe(alone ? 1 : 2)
    },
    { timeout: 30_000, interval: 200 },
  )
}

const metric = (node: NodeName, name: string): Promise<number> =>
  metricOf(fleet.nodes[node].premises, 'node-agent', name)
/** By the value of the metric's one label. */
const labelled = (node: NodeName, name: string) => metricsOf(fleet.nodes[node].premises, 'node-agent', name)

/** Whatever was fetched from somewhere while `use` ran; what was here already costs nothing. */
const sourcesOf = async (node: NodeName, use: () => Promise<unknown>): Promise<Record<string, number>> => {
  const before = await labelled(node, uses)
  await use()
  const after = await labelled(node, uses)
  return Object.fromEntries(
    Object.entries(after)
      .map(([source, count]): [string, number] => [source, count - (before[source] ?? 0)])
      .filter(([source, count]) => count > 0 && source !== 'here'),
  )
}

const make = async (tags: Record<string, string> = once, more = ''): Promise<string> => {
  const name = uniqueName('loading')
  const source = `// ${name}\n${more}\nexport const handler = async () => '${name}'`
  await createFunction(lambdaClient(connection), name, source, { MemorySize: 128, Tags: tags })
  return name
}
const ask = async (name: string): Promise<void> =>
  expect((await invoke(lambdaClient(connection), name)).json).toBe(name)

/** Starts go to these nodes alone from now on. */
const onlyOn = async (...open: readonly NodeName[]): Promise<void> => {
  for (const name of nodeNames) {
    const what = open.includes(name) ? 'uncordon' : 'cordon'
    await signedFetch(connection, { method: 'POST', path: `/forkyard/v1/nodes/${name}/${what}`, body: {} })
  }
  await vi.waitFor(
    async () => {
      const cordoned = (await nodesOf(fleet)).filter((node) => node.cordoned).map(({ nodeId }) => nodeId)
      expect(cordoned.toSorted()).toEqual(nodeNames.filter((name) => !open.includes(name)))
    },
    { timeout: 20_000, interval: 100 },
  )
}

const codeDir = (node: NodeName): string => join(fleet.nodes[node].premises.stateDir, 'node-agent', 'code')
const filesOn = (node: NodeName): string[] => readdirSync(codeDir(node)).toSorted()
const newFileOn = async (node: NodeName, use: () => Promise<unknown>): Promise<string> => {
  const before = filesOn(node)
  await use()
  const [file, ...more] = filesOn(node).filter((name) => !before.includes(name))
  if (file === undefined || more.length > 0) throw new Error(`not one new file on ${node}`)
  return file
}

describe('a node that lacks the code of a function', () => {
  beforeAll(() => begin(false, 'n3'))
  afterAll(() => fleet?.remove())

  it('has it from a node that has it, and needs it once', async () => {
    const name = await make()
    await onlyOn('n1')
    const file = await newFileOn('n1', async () => expect(await sourcesOf('n1', () => ask(name))).toEqual({ store: 1 }))
    await onlyOn('n2')
    expect(await sourcesOf('n2', () => ask(name))).toEqual({ peer: 1 })
    expect(await fileDigest(join(codeDir('n2'), file))).toBe(file.slice(0, 64))
    expect(await sourcesOf('n2', () => ask(name))).toEqual({})
  })

  it('needs no store for that; a node that knows no other does', async () => {
    const name = await make()
    await onlyOn('n1')
    const file = await newFileOn('n1', () => ask(name))
    const gateway = await natsOf(fleet.gateways[0].premises)
    try {
      await (await new Objm(jetstream(gateway)).open(buckets.code)).delete(imageObject(file.slice(0, 64)))
    } finally {
      await gateway.close()
    }
    await onlyOn('n2')
    await ask(name)
    // Negative control.
    await onlyOn('n3')
    await expect(ask(name)).rejects.toThrow(/code image is not in the store/)
  })

  it('is refused without the token of nodes; with it, it gets code images and nothing else', async () => {
    const {
      peers,
      internalToken,
      schedulerToken,
      callToken = '',
      listen,
    } = configOf(fleet.nodes.n1.premises, 'node-agent')
    if (!peers) throw new Error('n1 has no port for other nodes')
    const { nodeToken } = configOf(fleet.gateways[0].premises, 'gateway')
    const [file = ''] = filesOn('n1')
    const statusOf = async (port: number, path: string, token?: string): Promise<number> => {
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
      const reply = await fetch(`http://${listen.host}:${port}${path}`, {
        headers: { ...protocolHeaders, ...authorization },
      })
      await reply.arrayBuffer()
      return reply.status
    }
    const image = codeImagePath(file.slice(0, 64))
    for (const token of [undefined, 'x'.repeat(64), internalToken, schedulerToken, callToken, nodeToken])
      expect(await statusOf(peers.listen.port, image, token)).toBe(403)
    expect(await statusOf(peers.listen.port, '/v1/instances', peers.token)).toBe(404)
    expect(await statusOf(listen.port, '/v1/instances', peers.token)).toBe(403)
    // Negative control.
    expect(await statusOf(peers.listen.port, image, peers.token)).toBe(200)
  })

  it('has nothing wrong from a node whose file was damaged, and neither has that node', async () => {
    const name = await make()
    await onlyOn('n1')
    const file = await newFileOn('n1', () => ask(name))
    const path = join(codeDir('n1'), file)
    const bytes = readFileSync(path)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    writeFileSync(path, bytes)
    await onlyOn('n2')
    const before = await labelled('n2', failures)
    expect(await sourcesOf('n2', () => ask(name))).toEqual({ store: 1 })
    expect(await labelled('n2', failures)).toEqual({ ...before, wrong: (before['wrong'] ?? 0) + 1 })
    expect(await fileDigest(join(codeDir('n2'), file))).toBe(file.slice(0, 64))
    await onlyOn('n1')
    expect(await sourcesOf('n1', () => ask(name))).toEqual({ peer: 1 })
    expect(await fileDigest(path)).toBe(file.slice(0, 64))
    expect(filesOn('n2').filter((each) => each.endsWith('.partial'))).toEqual([])
    // It is not trusted for a while: a new run of the agent begins without that.
    await untilReplaced(fleet.nodes.n2, signal(fleet.nodes.n2, 'SIGTERM'))
    await untilAllReport(fleet)
    await vi.waitFor(async () => expect(await metric('n2', 'forkyard_node_code_image_peers')).toBe(1), {
      timeout: 30_000,
      interval: 200,
    })
  })

  it('does not wait for a node that stands still', async () => {
    const name = await make()
    await onlyOn('n1')
    await ask(name)
    await onlyOn('n2')
    const before = await labelled('n2', failures)
    signal(fleet.nodes.n1, 'SIGSTOP')
    try {
      expect(await sourcesOf('n2', () => ask(name))).toEqual({ store: 1 })
    } finally {
      signal(fleet.nodes.n1, 'SIGCONT')
    }
    expect(await labelled('n2', failures)).toEqual({ ...before, silent: (before['silent'] ?? 0) + 1 })
    await untilAllReport(fleet)
  })
})

/** Images that nodes fetched ahead, each of them. */
const fetched = async (): Promise<number[]> =>
  Promise.all(
    nodeNames.map(async (node) => (await labelled(node, 'forkyard_node_code_image_prefetches_total'))['fetched'] ?? 0),
  )

const explain = async (name: string) => {
  const reply = await signedFetch(connection, { path: `/forkyard/v1/functions/${name}/explain` })
  const { next } = (await reply.json()) as {
    next: { nodeId?: string; candidates: { nodeId: string; holds?: string }[] }
  }
  return { nodeId: next.nodeId, holds: Object.fromEntries(next.candidates.map((each) => [each.nodeId, each.holds])) }
}

describe('a deployment', () => {
  beforeAll(() => begin(true))
  afterAll(() => fleet?.remove())

  it('has its code on every node before anybody asks, and the first request finds it there, strict-cold or not', async () => {
    for (const tags of [once, { ...once, 'forkyard:cache': 'strict-cold' }]) {
      const before = await fetched()
      const name = await make(tags)
      await vi.waitFor(async () => expect(await fetched()).toEqual(before.map((count) => count + 1)), {
        timeout: 30_000,
        interval: 100,
      })
      for (const node of nodeNames) {
        await onlyOn(node)
        expect(await sourcesOf(node, () => ask(name))).toEqual({})
      }
    }
    await onlyOn(...nodeNames)
    const sources = await Promise.all(nodeNames.map((node) => labelled(node, uses)))
    console.log('fetched ahead', sources)
  })

  it('starts where its checkpoint is, though other nodes have its code too', async () => {
    const before = await fetched()
    const name = await make(once, 'await new Promise((resolve) => setTimeout(resolve, 500))')
    await vi.waitFor(async () => expect(await fetched()).toEqual(before.map((count) => count + 1)), {
      timeout: 30_000,
      interval: 100,
    })
    // Negative control: as long as it has none, another node is as good.
    const usual = (await explain(name)).nodeId
    const node = nodeNames.toReversed().find((each) => each !== usual) ?? 'n3'
    await onlyOn(node)
    await ask(name)
    await vi.waitFor(
      async () => {
        const reply = await serviceRequest(fleet.nodes[node].premises, 'node-agent', '/v1/checkpoints')
        const all = (await reply.json()) as { revision: string; state: string }[]
        expect(all.filter(({ revision, state }) => state === 'ready' && revision.includes(name))).toHaveLength(1)
      },
      { timeout: 60_000, interval: 200 },
    )
    await onlyOn(...nodeNames)
    const holds = Object.fromEntries(nodeNames.map((each) => [each, each === node ? 'checkpoint' : 'code']))
    await vi.waitFor(async () => expect(await explain(name)).toEqual({ nodeId: node, holds }), {
      timeout: 20_000,
      interval: 200,
    })
    const restored = async () => (await labelled(node, 'forkyard_node_restores_total'))['version'] ?? 0
    const from = await restored()
    for (let each = 0; each < 5; each++) await ask(name)
    // One that is not gone yet counts as load.
    expect((await restored()) - from).toBeGreaterThan(2)
  })
})
