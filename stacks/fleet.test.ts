import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { GatewayConfig } from '../services/gateway/config.ts'
import type { NodeAgentConfig } from '../services/node-agent/config.ts'
import { parseStackConfig } from './config.ts'
import { createFleet } from './fleet.ts'
import { LocalHost } from './host.ts'
import type { ServiceSpec } from './host-scripts/service-spec.ts'
import { createSite, localPrograms, loopback } from './site.ts'
import { changedCommands, commandOf, commandsOf, runMocked, secretMark, type Seen } from './testing/program-run.ts'
import { policyViolations } from './testing/policy-violations.ts'
import { scratchRepo } from './testing/scratch-repo.ts'

const { base, repoRoot, cacheDir } = scratchRepo('fleet', [
  'services/gateway',
  'services/scheduler',
  'services/node-agent',
  'stacks/host-scripts',
])

const hostKey = 'ssh-ed25519 AAAA'
const key = `-----BEGIN OPENSSH PRIVATE KEY-----\n${secretMark}\n-----END OPENSSH PRIVATE KEY-----\n`
const host = (name: string, end: number, ...roles: string[]) => ({ name, address: `10.0.0.${end}`, hostKey, roles })
const two = [host('a', 1, 'gateway', 'scheduler', 'nats'), host('b', 2, 'node')]
const results = {
  image: { imagePath: join(base, 'addon.node'), imageDigest: 'f'.repeat(64) },
  checkpoint: { checkpointPath: '/c', key: 'k', digest: 'e'.repeat(64) },
  addon: { addonPath: join(base, 'addon.node') },
  prepare: { memoryMiB: 10_240, cpus: 2, os: 'debian 12', notRaised: '' },
}

const runFleet = (hosts: readonly object[], raw: Readonly<Record<string, string>> = {}): Promise<Seen> => {
  const given = {
    'forkyard:target': 'metal',
    'forkyard:hosts': JSON.stringify(hosts),
    'forkyard:sshPrivateKey': key,
    'forkyard:runtimes': '["nodejs24.x"]',
    'forkyard:stateDir': join(base, 'state'),
    ...raw,
  }
  const config = parseStackConfig(given, { stack: 'blue', cacheDir, memoryMiB: 1 })
  const parts = { host: new LocalHost(config.installation, repoRoot), config, repoRoot }
  const program = () => {
    const workshop = createSite({ ...parts, programs: localPrograms(config), exposure: loopback })
    createFleet(workshop, { runtime: () => 'r', checkpoint: () => 'c' })
  }
  return runMocked(results, program)
}

/** What the service's script reads on its host. */
const specOf = (seen: Seen, name: string): ServiceSpec => {
  const { value } = (commandOf(seen, name)?.inputs['stdin'] ?? {}) as { value: string }
  return (JSON.parse(value) as { input: ServiceSpec }).input
}
const agentConfig = (seen: Seen, name: string): NodeAgentConfig =>
  JSON.parse(specOf(seen, name).files[0]?.content ?? '') as NodeAgentConfig

const natsConfig = (seen: Seen) =>
  specOf(seen, 'a-nats-process').files.find(({ path }) => path.endsWith('.conf'))?.content
const secretsOf = (seen: Seen) => [...seen.keys()].filter((key) => key.startsWith('credentials-'))

describe('forkyard:joinFrom', () => {
  it('gives NATS an issuer of other users, and the stack one more secret', async () => {
    const before = await runFleet(two)
    const after = await runFleet(two, { 'forkyard:joinFrom': '["10.8.0.0/16"]' })
    expect(natsConfig(after)).toMatch(/auth_callout \{ issuer: A[A-Z2-7]{55},/)
    const added = secretsOf(after).filter((key) => !secretsOf(before).includes(key))
    expect(added.map((key) => key.split('|')[0])).toEqual(['credentials-joining'])
    // No node that is there hears of it.
    const changed = ['a-firewall', 'a-gateway-process', 'a-nats-process', 'a-scheduler-process']
    expect(changedCommands(before, after)).toEqual(changed)
    const of = (name: string) => JSON.parse(specOf(after, name).files[0]?.content ?? '') as Partial<GatewayConfig>
    expect(of('a-gateway-process').joining).toMatchObject({
      urls: [of('a-gateway-process').calls?.url],
      agent: { region: 'us-east-1', cache: { mode: 'adaptive' } },
    })
    expect(of('a-scheduler-process')).toHaveProperty('verifyingKeys')
  })

  it('is needed for that', async () => {
    expect(natsConfig(await runFleet(two))).not.toContain('auth_callout')
  })
})

describe('a fleet', () => {
  it('has on each host what its roles need, and nothing else', async () => {
    const names = commandsOf(await runFleet(two)).map(({ name }) => name)
    const on = (prefix: string) => names.filter((name) => name.startsWith(prefix)).toSorted()
    const common = ['firewall', 'host-directories', 'prepare', 'programs']
    expect(on('a-')).toEqual(
      [...common, 'gateway-code', 'gateway-process', 'nats-process', 'scheduler-code', 'scheduler-process']
        .map((name) => `a-${name}`)
        .toSorted(),
    )
    expect(on('b-')).toEqual(
      [...common, 'addon', 'nodejs24.x-image', 'nodejs24.x-checkpoint', 'node-agent-code', 'node-agent-process']
        .map((name) => `b-${name}`)
        .toSorted(),
    )
  })

  it('keeps secrets out of command lines and environments', async () => {
    for (const { inputs } of commandsOf(await runFleet(two)))
      expect(JSON.stringify([inputs['create'], inputs['delete'], inputs['environment']])).not.toContain(secretMark)
  })

  it('has the key to its hosts encrypted in the state, wherever it is', async () => {
    const holding = commandsOf(await runFleet(two)).filter(({ inputs }) =>
      JSON.stringify(inputs).includes('PRIVATE KEY'),
    )
    expect(holding.length).toBeGreaterThan(10)
    for (const { name, inputs } of holding) expect([name, typeof inputs['stdin']]).toEqual([name, 'object'])
  })

  it('listens where others reach it, over TLS, and gives a node what its machine has', async () => {
    const config = agentConfig(await runFleet(two), 'b-node-agent-process')
    expect(config).toMatchObject({
      nodeId: 'blue-b',
      listen: { host: '10.0.0.2' },
      tls: { ca: 'authority', cert: 'of b' },
      nats: { servers: ['tls://10.0.0.1:9003'], replicas: 1, tls: { name: 'nats' } },
      capacity: { memoryMiB: 6144 },
    })
  })

  it('tells the agent of a host its pool and labels, where it has some', async () => {
    const b = { ...host('b', 2, 'node'), pool: 'gpu', labels: { zone: 'north' } }
    const c = host('c', 3, 'node')
    const pools = [{ name: 'gpu', onlyChosen: true }]
    const raw = { 'forkyard:pools': JSON.stringify(pools) }
    const seen = await runFleet([host('a', 1, 'gateway', 'scheduler', 'nats'), b, c], raw)
    for (const service of ['gateway', 'scheduler'])
      expect(JSON.parse(specOf(seen, `a-${service}-process`).files[0]?.content ?? '')).toMatchObject({ pools })
    expect(agentConfig(seen, 'b-node-agent-process')).toMatchObject({ pool: 'gpu', labels: { zone: 'north' } })
    expect(agentConfig(seen, 'c-node-agent-process')).not.toHaveProperty('pool')
  })

  it('runs services as a user of their own, and the agent as root', async () => {
    const seen = await runFleet(two)
    expect(specOf(seen, 'a-gateway-process')).toMatchObject({ user: 'fy-blue', privileges: 'none', notify: true })
    expect(specOf(seen, 'b-node-agent-process').user).toBeUndefined()
  })

  it('keeps to the policy pack', async () => {
    const seen = await runFleet(two)
    expect(policyViolations(seen)).toEqual([])
    expect(policyViolations(seen, false)).toEqual([expect.stringMatching(/^nats-data-protected: a-nats-process/)])
  })

  it('writes nothing on this machine', async () => {
    await runFleet(two)
    expect(readdirSync(base).toSorted()).toEqual(['addon.node', 'cache', 'repo'])
  })
})

/** Commands of the other run alone. */
const added = (one: Seen, other: Seen) => {
  const known = new Set(commandsOf(one).map(({ name }) => name))
  return commandsOf(other).filter(({ name }) => !known.has(name))
}

describe('a node that the configuration cordons', () => {
  const cordoned = [two[0], { ...host('b', 2, 'node'), cordoned: true }] as object[]

  it('is cordoned over the API once everything runs, and nothing else changes, nor when it is not any more', async () => {
    const before = await runFleet(two)
    const after = await runFleet(cordoned)
    expect(added(before, after).map(({ name }) => name)).toEqual(['b-cordon'])
    expect(added(after, before)).toEqual([])
    const { value } = (commandOf(after, 'b-cordon')?.inputs['stdin'] ?? {}) as { value: string }
    expect(JSON.parse(value)).toMatchObject({ nodeId: 'blue-b', connection: { endpoint: 'http://10.0.0.1:9000' } })
    expect(changedCommands(before, after)).toEqual(['b-cordon'])
  })

  it('is one on which a node runs', async () => {
    const wrong = { ...host('a', 1, 'gateway', 'scheduler', 'nats'), cordoned: true }
    await expect(async () => runFleet([wrong, two[1] as object])).rejects.toThrow(
      'forkyard:hosts[0].cordoned: no node runs on this host',
    )
  })
})

describe('one more node', () => {
  it('touches the firewalls of the others, and none of their services', async () => {
    const before = await runFleet(two)
    const after = await runFleet([...two, host('c', 3, 'node')])
    expect(changedCommands(before, after).filter((name) => !name.startsWith('c-'))).toEqual([
      'a-firewall',
      'b-firewall',
    ])
  })
})

describe('three servers of NATS', () => {
  const three = [
    host('a', 1, 'gateway', 'scheduler', 'nats'),
    host('b', 2, 'node', 'nats'),
    host('c', 3, 'node', 'nats'),
  ]

  it('know each other, prove themselves to each other, and keep everything three times', async () => {
    const seen = await runFleet(three)
    const [conf] = specOf(seen, 'b-nats-process').files
    expect(conf?.content).toContain('server_name: forkyard-b\nlisten: "10.0.0.2:9003"')
    expect(conf?.content.match(/@10\.0\.0\.\d:9004/g)).toEqual(['@10.0.0.1:9004', '@10.0.0.3:9004'])
    expect(conf?.content).toContain('verify: true')
    expect(agentConfig(seen, 'b-node-agent-process').nats).toMatchObject({ replicas: 3 })
    expect(agentConfig(seen, 'b-node-agent-process').nats.servers).toHaveLength(3)
  })
})
