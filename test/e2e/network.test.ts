/** What functions reach over the network, and what not: by real sandboxes, against a target outside of the host. */
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { NetworkPolicy } from '../../services/contracts/network.ts'
import { auditOf, deletePolicy, putPolicy, type Step } from '../support/network-probe.ts'
import { startTrafficTarget, type TrafficTarget } from '../support/traffic-target.ts'
import { configOf, withAgentConfig } from './host.ts'
import { installation } from './installation.ts'
import { ask, networked } from './networked.ts'

const target = installation()
let outside: TrafficTarget

beforeAll(async () => {
  outside = await startTrafficTarget()
})
afterAll(() => outside.close())

describe('a function', () => {
  it('without a policy has no network', async () => {
    const name = await networked('none')
    expect(
      await ask(name, [
        { tcp: outside.address4, port: 7001 },
        { udp: outside.address4, port: 7001 },
        { addresses: true },
      ]),
    ).toEqual(['ENETUNREACH', 'ENETUNREACH', []])
  })

  it.each(['boot', 'restore', 'restore-precreated', 'restore-parked', 'fork'] as const)(
    'with one reaches what a rule allows, and nothing else, after a start by %s',
    async (start) => {
      const name = await networked('allowed', {
        rules: [
          { action: 'allow', protocol: 'tcp', cidr: `${outside.address4}/32`, ports: [7001] },
          { action: 'allow', protocol: 'udp', cidr: '198.18.0.0/15', ports: ['7000-7002'] },
          { action: 'allow', protocol: 'tcp', cidr: outside.address6, ports: [7001] },
        ],
      })
      const answers = await ask(
        name,
        [
          { tcp: outside.address4, port: 7001 },
          { tcp: outside.address4, port: 7002 },
          { tcp: outside.other4, port: 7001 },
          { udp: outside.address4, port: 7002 },
          { udp: outside.address4, port: 7003 },
          { tcp: outside.address6, port: 7001 },
          { udp: outside.address6, port: 7001 },
        ],
        { start },
      )
      expect(answers).toEqual([
        `${outside.host4} hello`,
        'SILENT',
        'SILENT',
        `${outside.host4} uuuuu`,
        'SILENT',
        expect.stringMatching(/^2001:db8:.* hello$/),
        'SILENT',
      ])
    },
  )
})

describe('a policy', () => {
  it('that comes, changes and goes applies to the instance that runs, and to its open connections', async () => {
    const name = await networked('live')
    const tcp: Step = { tcp: outside.address4, port: 7001 }
    expect(await ask(name, [tcp])).toEqual(['ENETUNREACH'])
    await putPolicy(target, name, { rules: [{ action: 'allow', protocol: 'any', cidr: '198.18.0.0/15' }] })
    expect(await ask(name, [{ hold: outside.address4, port: 7001 }, { use: true }])).toEqual([
      `${outside.host4} first`,
      `${outside.host4} again`,
    ])
    await putPolicy(target, name, {
      rules: [
        { action: 'allow', protocol: 'any', cidr: '198.18.0.0/15' },
        { action: 'deny', protocol: 'tcp', cidr: outside.address4, ports: [7001] },
      ],
    })
    expect(await ask(name, [{ use: true }, tcp, { tcp: outside.address4, port: 7002 }])).toEqual([
      'SILENT',
      'SILENT',
      `${outside.host4} hello`,
    ])
    await deletePolicy(target, name)
    expect(await ask(name, [{ tcp: outside.address4, port: 7002 }])).toEqual(['SILENT'])
  })
})

describe('whatever the rules say, a function does not reach', () => {
  const everything: NetworkPolicy = {
    rules: [
      { action: 'allow', protocol: 'any', cidr: '0.0.0.0/0' },
      { action: 'allow', protocol: 'any', cidr: '::/0' },
    ],
  }

  it('the host, the platform’s ports, other sandboxes, link-local and metadata addresses', async () => {
    const [name, other] = [await networked('wide', everything), await networked('neighbour', everything)]
    const [address4, address6] = (await ask(other, [{ addresses: true }]))[0] as [string, string]
    const { listen } = configOf(target, 'node-agent')
    const nats = Number(new URL(configOf(target, 'gateway').nats.servers[0] ?? '').port)
    const shut: Step[] = [
      { tcp: outside.host4, port: 22 },
      ...[listen.port, nats].map((port) => ({ tcp: outside.host4, port })),
      { tcp: '169.254.169.254', port: 80 },
      { tcp: 'fd00:ec2::254', port: 80 },
      { udp: address4, port: 7001 },
      { tcp: address6, port: 7001 },
    ]
    const since = Date.now()
    expect(await ask(name, [...shut, { tcp: outside.address4, port: 7001 }], {}, 600)).toEqual([
      ...shut.map(() => 'SILENT'),
      `${outside.host4} hello`,
    ])
    await vi.waitFor(
      async () => {
        const flows = (await auditOf(target, name, since)).filter(({ kind }) => kind === 'flow')
        const denied = flows.filter(({ verdict }) => verdict === 'denied')
        expect(denied.map((flow) => 'reason' in flow && flow.reason)).toEqual(shut.map(() => 'guarded'))
      },
      { timeout: 10_000, interval: 200 },
    )
  })

  it('the host by its exact address unless a rule names it, and then not the platform’s ports', async () => {
    const server = createServer((socket) => socket.end('host')).listen(0, outside.host4)
    await once(server, 'listening')
    try {
      const { port } = server.address() as AddressInfo
      const { listen } = configOf(target, 'node-agent')
      const name = await networked('exact', {
        rules: [{ action: 'allow', protocol: 'tcp', cidr: `${outside.host4}/32` }],
      })
      expect(
        await ask(name, [
          { tcp: outside.host4, port },
          { tcp: outside.host4, port: listen.port },
        ]),
      ).toEqual(['host', 'SILENT'])
    } finally {
      server.close()
    }
  })
})

describe('names', () => {
  it('that a policy allows are resolved, and open what they lead to; others are not there', async () => {
    await withAgentConfig(
      target,
      (config) => ({ ...config, network: { ...config.network, resolvers: [outside.nameServer] } }),
      async () => {
        const name = await networked('names', {
          rules: [
            { action: 'allow', protocol: 'tcp', name: '*.open.test', ports: [7001] },
            { action: 'allow', protocol: 'tcp', name: 'inside.test' },
            { action: 'allow', protocol: 'tcp', name: 'metadata.test' },
            { action: 'allow', protocol: 'tcp', name: 'six.test', ports: [7001] },
          ],
          dns: ['open.test'],
        })
        const since = Date.now()
        const answers = await ask(name, [
          { tcp: outside.address4, port: 7001 },
          { lookup: 'open.test' },
          { tcp: outside.address4, port: 7002 },
          { lookup: 'closed.test' },
          { lookup: 'api.open.test' },
          { tcp: outside.address4, port: 7003 },
          { tcp: 'api.open.test', port: 7001 },
          { tcp: 'six.test', port: 7001 },
          { tcp: 'inside.test', port: 22 },
          { tcp: 'metadata.test', port: 80 },
        ])
        expect(answers).toEqual([
          'SILENT',
          outside.address4,
          'SILENT',
          'ENOTFOUND',
          outside.address4,
          'SILENT',
          `${outside.host4} hello`,
          expect.stringMatching(/^2001:db8:.* hello$/),
          'SILENT',
          'SILENT',
        ])
        // An answer holds for so long, and what it opened no longer.
        await vi.waitFor(
          async () => expect(await ask(name, [{ tcp: outside.address4, port: 7001 }])).toEqual(['SILENT']),
          { timeout: 20_000, interval: 1_000 },
        )
        await vi.waitFor(
          async () => {
            const asked = (await auditOf(target, name, since)).flatMap((record) =>
              record.kind === 'dns' ? [record] : [],
            )
            const told = new Set(asked.map(({ question, verdict }) => `${question} ${verdict}`))
            expect([...told].toSorted()).toEqual([
              'api.open.test answered',
              'closed.test denied',
              'inside.test answered',
              'metadata.test answered',
              'open.test answered',
              'six.test answered',
            ])
          },
          { timeout: 10_000, interval: 200 },
        )
      },
    )
  })
})
