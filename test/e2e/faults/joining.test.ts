/**
 * A machine becomes a node by a token, with real sandboxes, a real NATS that asks gateways who it is, and TLS on what it says and is told; and is a
 * node no longer. What it must not do stands beside what it may.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { Value } from 'typebox/value'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import {
  joinedNodeId,
  joinPath,
  JoinToken,
  joinTokenContent,
  type JoinedConfig,
  type JoinRequest,
} from '../../../services/contracts/joining.ts'
import { inboxPrefix } from '../../../services/contracts/nats-permissions.ts'
import { askGateway } from '../../../services/node-agent/joining/ask-gateway.ts'
import { makeCertificate, type KeyPair } from '../../../services/node-agent/joining/certificate.ts'
import { issueCertificates } from '../../../stacks/components/issue-certificates.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type Connection } from '../../support/lambda.ts'
import { configOf, metricOf, pidOf } from '../host.ts'
import { installation } from '../installation.ts'
import { connectionOf, createFleet, joinedUrl, nodesOf, signal, startJoined, type Fleet, type Member } from './fleet.ts'
import { nodeAddress } from './fleet-network.ts'

const target = installation()
const capacity = { memoryMiB: 1024, instances: 8 }
const joiner = 'n3'
const issued = issueCertificates(
  { subjects: { gateway: { names: ['gateway'], addresses: [] } }, days: 2 },
  undefined,
  Date.now(),
)
const authority = issued.authority.cert
const gatewayTls = {
  ca: authority,
  cert: issued.certificates['gateway']?.cert ?? '',
  key: issued.certificates['gateway']?.key ?? '',
}

let fleet: Fleet
let connection: Connection
let pair: KeyPair
let nodeId: string

beforeAll(async () => {
  fleet = await createFleet(target, capacity, { joiner: { name: joiner, gatewayTls } })
  connection = connectionOf(target, fleet.gateways[0])
  nodeId = joinedNodeId(`f${fleet.id}`, 'edge-1')
  pair = await makeCertificate('edge-1', nodeAddress(fleet.id, 2))
})
afterAll(async () => {
  await fleet?.remove()
})

const api = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown> => {
  const reply = await signedFetch(connection, { method, path: `/forkyard/v1/${path}`, ...(body ? { body } : {}) })
  return reply.status === 204 ? undefined : reply.json()
}
const makeToken = async (body: object = {}): Promise<JoinToken> => {
  const { token } = (await api('POST', 'node-tokens', body)) as { token: string }
  return Value.Parse(JoinToken, joinTokenContent(token))
}
/** @param at of the gateways */
const joinWith = (token: JoinToken, more: Partial<JoinRequest> = {}, at = 0, ca = authority): Promise<JoinedConfig> =>
  askGateway(token.urls[at] ?? '', ca, {
    path: joinPath,
    body: {
      tokenId: token.tokenId,
      secret: token.secret,
      name: 'edge-1',
      url: joinedUrl(fleet.id, joiner),
      certificate: pair.cert,
      ...more,
    },
  })
const nodeIds = async () => (await nodesOf(fleet)).map((node) => node.nodeId).toSorted()

describe('a machine with a token', () => {
  let said: JoinedConfig
  let member: Member
  let name: string

  it('is refused with a secret that is not the token’s, a certificate that is none, and by a stranger’s authority', async () => {
    const token = await makeToken({ pool: 'default' })
    await expect(joinWith(token, { secret: '0'.repeat(64) })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(joinWith(token, { url: 'http://192.0.2.1:7100' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    const foreign = issueCertificates({ subjects: {}, days: 2 }, undefined, Date.now()).authority.cert
    await expect(joinWith(token, {}, 0, foreign)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await expect(api('GET', 'joined-nodes')).resolves.toEqual({ nodes: [] })
  })

  it('joins, once, whichever gateways it asks', async () => {
    const token = await makeToken({ pool: 'default', labels: { zone: 'z1' } })
    const answers = await Promise.allSettled([
      joinWith(token),
      joinWith(token, { name: 'edge-2', url: 'https://192.0.2.9:1' }, 1),
    ])
    const joined = answers.filter(({ status }) => status === 'fulfilled')
    expect(joined).toHaveLength(1)
    // Whoever was faster; the test goes on as the first.
    if (answers[0].status === 'rejected') {
      await api('DELETE', `joined-nodes/${joinedNodeId(`f${fleet.id}`, 'edge-2')}`)
      said = await joinWith(await makeToken({ pool: 'default', labels: { zone: 'z1' } }))
    } else said = answers[0].value
    expect(said.nodeId).toBe(nodeId)
    await expect(joinWith(token)).rejects.toMatchObject({ code: 'FORBIDDEN' })
    const again = await makeToken()
    await expect(joinWith(again)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    expect(await api('GET', 'joined-nodes')).toMatchObject({
      nodes: [{ nodeId, pool: 'default', labels: { zone: 'z1' } }],
    })
  })

  it('holds nothing that other nodes are known by', () => {
    const own = JSON.stringify({ ...said.agent, environmentKeys: undefined, verifyingKeys: undefined })
    const { internalToken, schedulerToken, nats } = configOf(fleet.nodes.n1.premises, 'node-agent')
    for (const shared of [internalToken, schedulerToken, nats.password, 'c'.repeat(64)])
      expect(own).not.toContain(shared)
  })

  it('runs functions', async () => {
    member = await startJoined(fleet, target, joiner, { said, tls: { ca: authority, ...pair }, capacity })
    await vi.waitFor(async () => expect(await nodeIds()).toEqual(['n1', 'n2', nodeId].toSorted()), { timeout: 20_000 })
    for (const other of ['n1', 'n2']) await api('POST', `nodes/${other}/cordon`, {})
    name = uniqueName('joined')
    const client = lambdaClient(connection)
    await createFunction(client, name, 'export const handler = async () => process.env.SECRET', {
      MemorySize: 128,
      Environment: { Variables: { SECRET: 'of the function' } },
    })
    expect((await invoke(client, name)).json).toBe('of the function')
    expect((await invoke(lambdaClient(connectionOf(target, fleet.gateways[1])), name)).json).toBe('of the function')
    const there = (await nodesOf(fleet)).find((node) => node.nodeId === nodeId)
    expect(there?.instances.map(({ revision }) => revision.name)).toContain(name)
  })

  it('is there again after it was killed, by the configuration that it has', async () => {
    await untilReplaced(member, signal(member, 'SIGKILL'))
    await vi.waitFor(async () => expect((await invoke(lambdaClient(connection), name)).json).toBe('of the function'), {
      timeout: 30_000,
      interval: 500,
    })
    const file = join(member.premises.stateDir, 'services', 'node-agent', 'config.json')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ nodeId })
  })
})

/** Its port speaks TLS, which other members' do not. */
const untilReplaced = async ({ premises, service }: Member, before: number): Promise<void> => {
  await vi.waitFor(() => expect(pidOf(premises, service)).not.toBe(before), { timeout: 60_000, interval: 100 })
}

describe('a joined node that was taken over', () => {
  let nats: NatsConnection
  beforeAll(async () => {
    const { nats: own } = configOf(fleet.nodes.n3.premises, 'node-agent')
    const { servers, user, password: pass } = own
    nats = await connect({ servers, user, pass, inboxPrefix: inboxPrefix(user) })
  })
  afterAll(async () => {
    await nats.close()
  })

  const refused = async (act: () => void): Promise<string> => {
    const { promise, resolve } = Promise.withResolvers<string>()
    const watch = async () => {
      for await (const status of nats.status()) if (status.type === 'error') resolve(status.error.message)
    }
    void watch()
    act()
    await nats.flush()
    return promise
  }

  it('reports in no other node’s name, and hears nothing that is for another', async () => {
    expect(await refused(() => nats.publish('node.n1.report', '{}'))).toContain('Permissions Violation')
    expect(await refused(() => void nats.subscribe('node.n1.report-now'))).toContain('Permissions Violation')
    expect(await refused(() => nats.publish('$KV.nodes.node.x_y', '{}'))).toContain('Permissions Violation')
    // Other nodes would show the token of their hop to whoever is there.
    expect(await refused(() => nats.publish(`node.${nodeId}.here`, '{}'))).toContain('Permissions Violation')
    expect(await refused(() => void nats.subscribe('node.*.here'))).toContain('Permissions Violation')
  })

  it('is known to NATS by its own password alone, and nobody that did not join is known', async () => {
    const { servers, user, password } = configOf(fleet.nodes.n3.premises, 'node-agent').nats
    const asked = [
      { user, pass: `${password.slice(1)}0` },
      { user: `${user}x`, pass: password },
      { user: 'node-agent', pass: password },
    ]
    for (const who of asked)
      await expect(connect({ servers, ...who, reconnect: false })).rejects.toThrow('Authorization Violation')
  })

  it('cannot be in another pool than it joined for, nor at another node’s address', async () => {
    const [leader] = fleet.schedulers
    const refusals = () => metricOf(leader.premises, 'scheduler', 'forkyard_scheduler_refused_reports_total')
    const before = await refusals()
    const report = {
      nodeId,
      epoch: 'other',
      seq: 0,
      full: true,
      accepting: true,
      capacity: { memoryMiB: 1_000_000, instances: 1000, cpus: 64 },
      instances: [],
      endedInvocations: [],
    }
    nats.publish(`node.${nodeId}.report`, JSON.stringify({ ...report, pool: 'edge', url: joinedUrl(fleet.id, joiner) }))
    nats.publish(
      `node.${nodeId}.report`,
      JSON.stringify({ ...report, pool: 'default', url: joinedUrl(fleet.id, 'n1') }),
    )
    await nats.flush()
    await vi.waitFor(async () => expect((await refusals()) - before).toBeGreaterThanOrEqual(2), { timeout: 5_000 })
    expect((await nodesOf(fleet)).find((node) => node.nodeId === nodeId)).toMatchObject({ pool: 'default' })
  })
})

describe('a node that is removed', () => {
  it('is nobody’s node any more, at once, and comes into NATS no more', async () => {
    const { nats } = configOf(fleet.nodes.n3.premises, 'node-agent')
    await api('DELETE', `joined-nodes/${nodeId}`)
    await vi.waitFor(async () => expect(await nodeIds()).toEqual(['n1', 'n2']), { timeout: 5_000 })
    await expect(
      connect({ servers: nats.servers, user: nats.user, pass: nats.password, reconnect: false }),
    ).rejects.toThrow('Authorization Violation')
    expect(await api('GET', 'joined-nodes')).toEqual({ nodes: [] })
    await expect(api('DELETE', `joined-nodes/${nodeId}`)).rejects.toThrow()
  })
})
