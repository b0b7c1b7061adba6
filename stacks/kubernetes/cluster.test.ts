import { describe, expect, it } from 'vitest'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { parseStackConfig } from '../config.ts'
import { LocalHost } from '../host.ts'
import { createSite, localPrograms, loopback } from '../site.ts'
import { commandOf, commandsOf, runMocked, secretMark, type Registered, type Seen } from '../testing/program-run.ts'
import { policyViolations } from '../testing/policy-violations.ts'
import { scratchRepo } from '../testing/scratch-repo.ts'
import { createCluster } from './cluster.ts'

const { repoRoot, cacheDir } = scratchRepo('cluster', [
  'services/gateway',
  'services/scheduler',
  'services/node-agent',
  'stacks/kubernetes/pod',
])

const oci = { layoutPath: '/cache/oci/x', digest: `sha256:${'a'.repeat(64)}` }
const results = {
  image: { imagePath: '/cache/runtime.erofs', imageDigest: 'f'.repeat(64) },
  addon: { addonPath: '/cache/host-calls-0123456789abcdef.node' },
  oci,
}

interface ClusterRun {
  readonly kubernetes?: object
  readonly raw?: Readonly<Record<string, string>>
  readonly monitored?: boolean
}

const runCluster = ({ kubernetes = {}, raw = {}, monitored = false }: ClusterRun = {}): Promise<Seen> => {
  const given = {
    'forkyard:target': 'kubernetes',
    'forkyard:runtimes': '["nodejs24.x"]',
    'forkyard:kubernetes': JSON.stringify({ importers: [['load-image']], ...kubernetes }),
    ...raw,
  }
  const config = parseStackConfig(given, { stack: 'blue', cacheDir, memoryMiB: 1 })
  const program = () => {
    const host = new LocalHost(config.installation, repoRoot)
    const workshop = createSite({ host, config, repoRoot, programs: localPrograms(config), exposure: loopback })
    createCluster(workshop, { runtime: () => 'r', checkpoint: () => 'c' }, monitored)
  }
  return runMocked(results, program)
}

/** Resources of the cluster, by kind. */
const ofKind = (seen: Seen, kind: string): Registered[] =>
  [...seen.values()].filter(({ type }) => type.startsWith('kubernetes:') && type.endsWith(`:${kind}`))
const one = (seen: Seen, kind: string, name: string): Registered => {
  const found = ofKind(seen, kind).find((entry) => entry.name === name)
  if (!found) throw new Error(`there is no ${kind} ${name}`)
  return found
}
interface Container {
  readonly name: string
  readonly image: string
  readonly imagePullPolicy: string
  readonly securityContext: { readonly privileged?: boolean }
  readonly resources?: { readonly requests: object }
}
interface PodTemplate {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> }
  readonly spec: { readonly containers: readonly Container[]; readonly initContainers?: readonly Container[] }
}
const templateOf = ({ inputs }: Registered): PodTemplate => (inputs['spec'] as { template: PodTemplate }).template
/** What a Secret holds, out of its encryption. */
const contentOf = (seen: Seen, name: string): Readonly<Record<string, string>> => {
  const data = one(seen, 'Secret', name).inputs['stringData'] as { value: Readonly<Record<string, string>> }
  return data.value
}
/** What makes a roll-out, by workload. */
const configs = (seen: Seen) =>
  Object.fromEntries(workloads(seen).map((found) => [found.name, templateOf(found).metadata.annotations]))
const workloads = (seen: Seen): Registered[] =>
  ['StatefulSet', 'Deployment', 'DaemonSet'].flatMap((kind) => ofKind(seen, kind))

describe('an installation in a cluster', () => {
  it('keeps to the policy pack', async () => {
    const kubernetes = { natsServers: 3, host: 'functions.test', ingressClass: 'nginx', tlsSecret: 'tls' }
    expect(policyViolations(await runCluster({ kubernetes, monitored: true }))).toEqual([])
  })

  it('is of these things', async () => {
    const seen = await runCluster()
    const names = [...seen.values()]
      .filter(({ type }) => /^kubernetes:.*:/.test(type))
      .map(({ type, name }) => `${type.split(':').at(-1)} ${name}`)
      .toSorted((a, b) => (a < b ? -1 : 1))
    expect(names).toEqual([
      'DaemonSet node-agent',
      'Deployment gateway',
      'Deployment scheduler',
      'Namespace namespace',
      ...['gateway', 'nats', 'node-agent', 'scheduler'].map((name) => `NetworkPolicy ${name}`),
      ...['gateway', 'nats', 'scheduler'].map((name) => `PodDisruptionBudget ${name}`),
      'Role node-agent',
      'RoleBinding node-agent',
      ...['gateway', 'nats', 'node-agent', 'scheduler'].map((name) => `Secret ${name}`),
      ...['gateway', 'gateway-calls', 'nats', 'scheduler'].map((name) => `Service ${name}`),
      'ServiceAccount node-agent',
      'StatefulSet nats',
    ])
  })

  it('gives privileges to nobody but the agent, and asks for what each needs', async () => {
    for (const workload of workloads(await runCluster())) {
      const { containers, initContainers = [] } = templateOf(workload).spec
      for (const { resources } of containers) expect(resources?.requests).toHaveProperty('memory')
      const privileged = [...initContainers, ...containers].filter((found) => found.securityContext.privileged)
      expect(privileged.map(({ name }) => name)).toEqual(
        workload.name === 'node-agent' ? ['prepare', 'node-agent'] : [],
      )
    }
  })

  it('has no secret outside of Secrets, and these encrypted', async () => {
    const seen = await runCluster()
    for (const { name, type, inputs } of seen.values())
      if (type.startsWith('kubernetes:') && !type.endsWith(':Secret'))
        expect([name, JSON.stringify(inputs).includes(secretMark)]).toEqual([name, false])
    expect(JSON.stringify(contentOf(seen, 'gateway'))).toContain(secretMark)
    for (const { inputs } of commandsOf(seen))
      expect(JSON.stringify([inputs['create'], inputs['environment']])).not.toContain(secretMark)
  })

  it('tells services where the others are, by name and over TLS', async () => {
    const seen = await runCluster({ raw: { 'forkyard:nodeMemoryMiB': '2048' } })
    const gateway = JSON.parse(contentOf(seen, 'gateway')['config.json'] ?? '') as object
    expect(gateway).toMatchObject({
      listen: { host: '0.0.0.0', port: 9000 },
      schedulerUrls: ['https://scheduler:9001'],
      internalCa: 'authority',
      nats: { servers: ['tls://nats-0.nats:9003'], replicas: 1, tls: { name: 'nats' } },
      publicUrl: 'http://gateway.forkyard-blue.svc:9000',
    })
    const template = JSON.parse(contentOf(seen, 'node-agent')['template.json'] ?? '') as { agent: NodeAgentConfig }
    expect(template).toMatchObject({ installation: 'blue', checkpoints: { inputsDigest: 'c' } })
    expect(template.agent).toMatchObject({
      tls: { cert: 'of node-agent' },
      capacity: { memoryMiB: 2048 },
      runscPath: '/opt/forkyard/bin/runsc',
      runtimes: { 'nodejs24.x': { imagePath: '/opt/forkyard/images/nodejs24.x.erofs', imageDigest: 'f'.repeat(64) } },
    })
  })

  it('rolls out a change of configuration, where something changed', async () => {
    const [before, same, after] = [
      configs(await runCluster()),
      configs(await runCluster()),
      configs(await runCluster({ raw: { 'forkyard:tenant': 'other' } })),
    ]
    expect(same).toEqual(before)
    const changed = Object.keys(after).filter((name) => JSON.stringify(after[name]) !== JSON.stringify(before[name]))
    expect(changed).toEqual(['gateway'])
  })
})

describe('images', () => {
  it('are imported by every command, and never pulled', async () => {
    const seen = await runCluster({
      kubernetes: {
        importers: [
          ['to-a', '-'],
          ['to-b', '-'],
        ],
      },
    })
    const imports = commandsOf(seen).filter(({ name }) => name.includes('-import-'))
    expect(imports.map(({ name }) => name).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(
      ['gateway', 'nats', 'node-agent', 'scheduler'].flatMap((name) => [`${name}-import-0`, `${name}-import-1`]),
    )
    expect(commandOf(seen, 'nats-import-1')?.inputs['stdin']).toContain('"command":["to-b","-"]')
    const [container] = templateOf(one(seen, 'Deployment', 'gateway')).spec.containers
    expect(container).toMatchObject({
      image: `forkyard.invalid/blue/gateway:sha256-${'a'.repeat(64)}`,
      imagePullPolicy: 'Never',
    })
  })

  it('are pushed to a registry, and pulled from there by digest', async () => {
    const seen = await runCluster({ kubernetes: { images: 'registry', registry: 'registry.test:5000/forkyard' } })
    expect(commandsOf(seen).filter(({ name }) => name.includes('-import-'))).toEqual([])
    expect(commandOf(seen, 'gateway-push')?.inputs['stdin']).toContain('registry.test:5000/forkyard/gateway')
    const [container] = templateOf(one(seen, 'Deployment', 'gateway')).spec.containers
    expect(container?.image).toBe(`registry.test:5000/forkyard/gateway@${oci.digest}`)
  })
})

describe('what is optional', () => {
  it('three servers of NATS know each other by name and keep everything three times', async () => {
    const seen = await runCluster({ kubernetes: { natsServers: 3, storageClass: 'fast' } })
    const text = contentOf(seen, 'nats')['nats-server.conf']
    expect(text).toContain('server_name: $POD_NAME\n')
    expect(text?.match(/@nats-\d\.nats:9004/g)).toEqual(['@nats-0.nats:9004', '@nats-1.nats:9004', '@nats-2.nats:9004'])
    expect(JSON.parse(contentOf(seen, 'gateway')['config.json'] ?? '')).toMatchObject({ nats: { replicas: 3 } })
    expect(one(seen, 'StatefulSet', 'nats').inputs['spec']).toMatchObject({
      replicas: 3,
      volumeClaimTemplates: [{ spec: { storageClassName: 'fast' } }],
    })
  })

  it('an Ingress or an HTTPRoute leads to the gateways', async () => {
    const ingress = await runCluster({ kubernetes: { host: 'fn.test', ingressClass: 'nginx', tlsSecret: 'fn' } })
    expect(one(ingress, 'Ingress', 'gateway').inputs['spec']).toMatchObject({
      ingressClassName: 'nginx',
      tls: [{ hosts: ['fn.test'], secretName: 'fn' }],
    })
    const route = await runCluster({ kubernetes: { host: 'fn.test', parentGateway: 'edge/public' } })
    expect(ofKind(route, 'HTTPRoute')[0]?.inputs['spec']).toMatchObject({
      parentRefs: [{ namespace: 'edge', name: 'public' }],
      hostnames: ['fn.test'],
    })
  })

  it('ServiceMonitors are made where somebody reads them, who is then let in', async () => {
    const without = await runCluster()
    expect(ofKind(without, 'ServiceMonitor')).toEqual([])
    expect(JSON.stringify(one(without, 'NetworkPolicy', 'scheduler').inputs)).not.toContain('namespaceSelector')
    const seen = await runCluster({ monitored: true })
    expect(ofKind(seen, 'ServiceMonitor')).toHaveLength(3)
    expect(JSON.stringify(one(seen, 'NetworkPolicy', 'scheduler').inputs)).toContain('namespaceSelector')
  })
})
