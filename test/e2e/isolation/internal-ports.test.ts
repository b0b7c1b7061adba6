/** Ports inside the installation: what comes without credentials, with foreign ones, or with those of another role, is refused. */
import { request } from 'node:http'
import { jetstream } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { connect, PermissionViolationError, type NatsConnection } from '@nats-io/transport-node'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { linkProtocol } from '../../../services/chassis/link/protocol.ts'
import { callHeaders } from '../../../services/contracts/calls.ts'
import { instanceLink, livenessLink, placementLink } from '../../../services/contracts/links.ts'
import { natsRoles, type NatsRole } from '../../../services/contracts/nats-permissions.ts'
import { protocolHeaders } from '../../../services/contracts/protocol.ts'
import { buckets, streams } from '../../../services/contracts/subjects.ts'
import { configOf, natsOf } from '../host.ts'
import { installation } from '../installation.ts'

const target = installation()

const connections: NatsConnection[] = []
afterEach(async () => void (await Promise.all(connections.splice(0).map((each) => each.close()))))
const as = async (role: NatsRole): Promise<NatsConnection> => {
  const connection = await natsOf(target, role)
  connections.push(connection)
  return connection
}

/** What the server refused while `work` ran. It answers in order, and nobody may publish the last. */
const refusedOf = async (connection: NatsConnection, work: () => Promise<unknown>): Promise<string[]> => {
  const refused: string[] = []
  const watch = (async () => {
    for await (const event of connection.status())
      if (event.type === 'error' && event.error instanceof PermissionViolationError)
        refused.push(`${event.error.operation} ${event.error.subject}`)
  })()
  watch.catch(() => undefined)
  await work()
  connection.publish('for.nobody')
  await vi.waitFor(() => expect(refused.at(-1)).toBe('publish for.nobody'), { timeout: 10_000 })
  return refused.slice(0, -1)
}

describe('NATS', () => {
  const { servers } = configOf(target, 'gateway').nats

  it.each<[string, { user?: string; pass?: string }]>([
    ['nobody', {}],
    ['a user that it does not know', { user: 'admin', pass: 'admin' }],
    ['a wrong password', { user: 'gateway', pass: 'x'.repeat(64) }],
    ['the password of another role', { user: 'gateway', pass: configOf(target, 'node-agent').nats.password }],
  ])('lets in no %s', async (_who, credentials) => {
    await expect(connect({ servers, ...credentials, reconnect: false })).rejects.toThrow(/[Aa]uthoriz|[Aa]uthent/)
  })

  const forbidden: Readonly<Record<NatsRole, readonly string[]>> = {
    // What functions did is for nodes to say, and for nobody to take back.
    gateway: [
      'usage.default.f.i.1',
      'logs.default.f',
      'audit.default.f',
      'node.n.report',
      'node.n.here',
      'node.report-now',
      `$JS.API.STREAM.DELETE.${streams.usage}`,
      `$JS.API.STREAM.PURGE.${streams.usage}`,
      `$JS.API.STREAM.MSG.DELETE.${streams.logs}`,
    ],
    scheduler: [
      'usage.default.f.i.1',
      'async.default.f',
      'node.n.report',
      'node.n.files',
      'node.n.here',
      `$KV.${buckets.functions}.default.f`,
      '$JS.API.STREAM.DELETE.KV_schedulers',
      `$JS.API.STREAM.MSG.GET.KV_${buckets.functions}`,
      'gateway.here',
    ],
    // A node that was taken over deploys nothing, invokes nothing, and makes no callers.
    'node-agent': [
      'async.default.f',
      'dlq.default.f',
      'node.report-now',
      // Where calls of functions are brought is for gateways to say.
      'gateway.here',
      `$KV.${buckets.functions}.default.f`,
      `$KV.${buckets.access}.key.x`,
      `$KV.${buckets.network}.default.f`,
      `$O.${buckets.code}.M.x`,
      `$JS.API.STREAM.MSG.GET.KV_${buckets.access}`,
      `$JS.API.DIRECT.GET.KV_${buckets.access}.$KV.${buckets.access}.key.x`,
      `$JS.API.CONSUMER.CREATE.KV_${buckets.access}.x`,
      `$JS.API.CONSUMER.CREATE.${streams.async}.x`,
      `$JS.API.CONSUMER.CREATE.${streams.logs}.x`,
      `$JS.API.STREAM.CREATE.x`,
      `$JS.API.STREAM.UPDATE.${streams.usage}`,
      `$JS.API.STREAM.DELETE.KV_${buckets.functions}`,
      `$JS.API.STREAM.PURGE.KV_${buckets.functions}`,
    ],
  }

  it.each(natsRoles)('lets the %s write nothing that is not its own', async (role) => {
    const connection = await as(role)
    const refused = await refusedOf(connection, async () => {
      for (const subject of forbidden[role]) connection.publish(subject, '{}')
    })
    expect(refused.toSorted()).toEqual(forbidden[role].map((subject) => `publish ${subject}`).toSorted())
  })

  it.each(natsRoles)('lets the %s hear nothing that is not its own', async (role) => {
    const connection = await as(role)
    const others = natsRoles.filter((other) => other !== role).map((other) => `_INBOX_${other}.>`)
    const subjects = ['>', '_INBOX.>', 'usage.>', '$KV.>', '$JS.API.>', ...others]
    const refused = await refusedOf(connection, async () => {
      for (const subject of subjects) connection.subscribe(subject)
    })
    expect(refused.toSorted()).toEqual(subjects.map((subject) => `subscription ${subject}`).toSorted())
  })

  it('negative control: what is a role’s own is not refused', async () => {
    const gateway = await as('gateway')
    const agent = await as('node-agent')
    expect(
      await refusedOf(gateway, async () => {
        await (await new Kvm(jetstream(gateway)).open(buckets.access)).get('key.none')
      }),
    ).toEqual([])
    expect(
      await refusedOf(agent, async () => {
        await (await new Kvm(jetstream(agent)).open(buckets.functions)).get('default.none')
        agent.publish('node.nobody.report', '{}')
      }),
    ).toEqual([])
  })
})

describe('the HTTP port of', () => {
  const gateway = configOf(target, 'gateway')
  const scheduler = configOf(target, 'scheduler')
  const agent = configOf(target, 'node-agent')
  const ports = {
    gateway: gateway.calls?.listen.port ?? 0,
    scheduler: scheduler.listen.port,
    'node-agent': agent.listen.port,
  } as const

  /** Everything that a role holds and could present. */
  const held: Readonly<Record<NatsRole, readonly string[]>> = {
    gateway: [gateway.internalToken, gateway.nodeToken],
    scheduler: [scheduler.internalToken, scheduler.nodeToken],
    'node-agent': [agent.internalToken, agent.schedulerToken, agent.callToken ?? ''],
  }
  const routes: readonly (readonly [keyof typeof ports, string, string, NatsRole])[] = [
    ['gateway', 'CALL', '/', 'node-agent'],
    ['scheduler', 'LINK', placementLink, 'gateway'],
    ['scheduler', 'GET', '/v1/nodes', 'gateway'],
    ['scheduler', 'POST', '/v1/explanations', 'gateway'],
    ['node-agent', 'LINK', instanceLink, 'scheduler'],
    ['node-agent', 'LINK', livenessLink, 'gateway'],
    ['node-agent', 'POST', '/v1/invocations/none', 'gateway'],
    ['node-agent', 'POST', '/v1/explanations', 'gateway'],
    ['node-agent', 'GET', '/v1/instances', 'gateway'],
    ['node-agent', 'GET', '/v1/cache', 'gateway'],
    ['node-agent', 'GET', '/v1/seeds', 'gateway'],
    ['node-agent', 'GET', '/v1/checkpoints', 'gateway'],
  ]
  /** Of the answer to a request, or to the wish for a link. */
  const status = (service: keyof typeof ports, method: string, path: string, authorization?: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const link = { upgrade: linkProtocol, connection: 'upgrade' }
      const sent = request({
        host: '127.0.0.1',
        port: ports[service],
        path,
        method: method === 'LINK' || method === 'CALL' ? 'GET' : method,
        agent: false,
        headers: {
          'content-type': 'application/json',
          ...protocolHeaders,
          ...(method === 'LINK' ? link : {}),
          // What comes with a call is the function's own.
          ...(authorization ? { [method === 'CALL' ? callHeaders.token : 'authorization']: authorization } : {}),
        },
      })
      sent.once('error', reject)
      sent.once('upgrade', (_response, socket) => {
        socket.destroy()
        resolve(101)
      })
      sent.once('response', (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      })
      sent.end(method === 'POST' ? '{}' : undefined)
    })

  it.each(routes)('the %s: %s %s is for the %s alone', async (service, method, path, caller) => {
    expect(await status(service, method, path)).toBe(403)
    const foreign = [
      'x'.repeat(64),
      agent.nats.password,
      gateway.accounts[0]?.secretAccessKey ?? '',
      // What another role holds; what the service itself is called with is known to it, and of no use elsewhere.
      ...natsRoles.filter((role) => role !== caller && role !== service).flatMap((role) => held[role]),
    ].filter((token) => !held[caller].includes(token))
    for (const token of foreign) expect(await status(service, method, path, `Bearer ${token}`)).toBe(403)
    const own = held[caller].map((token) => status(service, method, path, `Bearer ${token}`))
    // Negative control: one of its own opens the door, whatever the request is worth.
    expect((await Promise.all(own)).filter((code) => code !== 403)).toHaveLength(1)
  })

  it('a node opens no other: what it holds is refused by the scheduler', async () => {
    for (const token of held['node-agent'])
      expect(await status('scheduler', 'LINK', placementLink, `Bearer ${token}`)).toBe(403)
  })
})
