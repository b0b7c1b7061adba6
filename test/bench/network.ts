/**
 * `npm run bench -- network`: what a policy costs a function's calls to the outside: a round trip on an open connection, a new connection with
 * one round trip, and a stream of data. Beside it the same without any filter, and with as many rules in nftables. Each round
 * takes all of them once, in an order of its own, with the same instance.
 */
import { execFileSync } from 'node:child_process'
import { signedFetch } from '../../services/cli/signed-fetch.ts'
import type { NetworkPolicy, NetworkRule } from '../../services/contracts/network.ts'
import { programPin } from '../../services/node-agent/network/filter-maps.ts'
import { createFunction } from '../support/lambda.ts'
import { startTrafficTarget, type TrafficTarget } from '../support/traffic-target.ts'
import { withInstallation, type Installation } from './installation.ts'
import { describeMachine, type Machine } from './machine.ts'
import { percentile } from './statistics.ts'

const ruleCounts = [10, 1_000, 10_000] as const
const roundTrips = 1_000
const connections = 200
const streamMiB = 64

/** Milliseconds of each round trip, with connections open and new; MiB per second. */
interface Sample {
  readonly open: readonly number[]
  readonly fresh: readonly number[]
  readonly mibPerSecond: number
}

const source = `import net from 'node:net'
const connect = (host, port) => new Promise((yes, no) => { const s = net.connect({ host, port, noDelay: true }, () => yes(s)); s.once('error', no) })
const trip = (socket) => new Promise((yes, no) => { socket.once('data', yes); socket.once('error', no); socket.write('x') })
const timed = async (work) => { const from = performance.now(); await work(); return performance.now() - from }
export const handler = async ({ host, roundTrips, connections, streamMiB }) => {
  const socket = await connect(host, 7001)
  const open = []
  for (let n = 0; n < roundTrips; n++) open.push(await timed(() => trip(socket)))
  socket.destroy()
  const fresh = []
  for (let n = 0; n < connections; n++) fresh.push(await timed(async () => { const s = await connect(host, 7001); await trip(s); s.destroy() }))
  const sink = await connect(host, 7100)
  const chunk = Buffer.alloc(1 << 20)
  const streamMs = await timed(() => new Promise((yes, no) => {
    sink.once('data', (said) => Number(said) === streamMiB << 20 ? yes() : no(new Error('lost')))
    sink.once('error', no)
    let left = streamMiB
    const more = () => { while (left > 0) { left--; if (!sink.write(chunk)) return sink.once('drain', more) } sink.end() }
    more()
  }))
  return { open, fresh, mibPerSecond: streamMiB / streamMs * 1000 }
}
`

/** Others first, each for a network of its own; the one that counts is the last. */
const prefixes = (count: number): string[] =>
  Array.from({ length: count - 1 }, (_, at) => `10.${at >> 8}.${at & 255}.0/24`)

const allow = (cidr: string): NetworkRule => ({ action: 'allow', protocol: 'tcp', cidr, ports: ['7000-7999'] })

const policyOf = (count: number, target: string): NetworkPolicy => {
  return { rules: [...prefixes(count).map(allow), allow(target)] }
}

const table = 'forkyard_bench'
const nft = (text: string): void => void execFileSync('nft', ['-f', '-'], { input: text })

const accept = (cidr: string): string => `ip daddr ${cidr} tcp dport 7000-7999 accept`

/** What one would write by hand: known connections first, then rule after rule. */
const nftables = (count: number, target: string, device: string): void => {
  const rules = ['ct state established,related accept', ...[...prefixes(count), target].map(accept), 'drop']
  const own = `iifname "${device}" jump rules`
  nft(
    `table inet ${table} { chain rules { ${rules.join('; ')}; }; chain forward { type filter hook forward priority 0; ${own}; }; }`,
  )
}

const removeNftables = (): void => nft(`table inet ${table}; delete table inet ${table}`)

interface Variant {
  readonly name: string
  readonly rules: number
  readonly prepare: () => Promise<void>
}

const tc = (...args: string[]): void => void execFileSync('tc', args)

/** @param device host's end of the instance's slot */
const variantsOf = (
  put: (policy: NetworkPolicy) => Promise<void>,
  target: string,
  device: string,
  runDir: string,
): Variant[] => {
  const hooks = [
    ['ingress', 'from_sandbox'],
    ['egress', 'to_sandbox'],
  ] as const
  const detach = (): void => hooks.forEach(([hook]) => tc('filter', 'del', 'dev', device, hook))
  const attach = (): void =>
    hooks.forEach(([hook, program]) =>
      tc(
        'filter',
        'replace',
        'dev',
        device,
        hook,
        'pref',
        '1',
        'handle',
        '1',
        'bpf',
        'da',
        'object-pinned',
        programPin(runDir, program),
      ),
    )
  return [
    { name: 'no filter', rules: 0, prepare: async () => detach() },
    ...ruleCounts.flatMap((rules): Variant[] => [
      {
        name: 'policy',
        rules,
        prepare: async () => {
          attach()
          await put(policyOf(rules, target))
        },
      },
      {
        name: 'nftables',
        rules,
        prepare: async () => {
          detach()
          nftables(rules, target, device)
        },
      },
    ]),
  ]
}

export interface NetworkRow {
  readonly name: string
  readonly rules: number
  readonly openP50Us: number
  readonly openP99Us: number
  readonly freshP50Us: number
  readonly freshP99Us: number
  readonly mibPerSecond: number
  /** To those without a filter. */
  readonly openP50Ratio: number
  readonly openP99Ratio: number
  readonly freshP50Ratio: number
  readonly freshP99Ratio: number
  readonly throughputRatio: number
}

const shuffled = <T>(items: readonly T[]): T[] =>
  items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item)

const median = (values: readonly number[]): number => percentile(values, 0.5)
const digits = (value: number, count: number): number => Number(value.toFixed(count))

const rowOf = ({ name, rules }: Variant, samples: readonly Sample[], reference: readonly Sample[]): NetworkRow => {
  const at = (of: readonly Sample[], kind: 'open' | 'fresh', share: number): number =>
    percentile(
      of.flatMap((sample) => sample[kind]),
      share,
    )
  const us = (kind: 'open' | 'fresh', share: number): number => Math.round(at(samples, kind, share) * 1000)
  const ratio = (kind: 'open' | 'fresh', share: number): number =>
    digits(at(samples, kind, share) / at(reference, kind, share), 3)
  const speed = (of: readonly Sample[]): number => median(of.map(({ mibPerSecond }) => mibPerSecond))
  return {
    name,
    rules,
    openP50Us: us('open', 0.5),
    openP99Us: us('open', 0.99),
    freshP50Us: us('fresh', 0.5),
    freshP99Us: us('fresh', 0.99),
    mibPerSecond: Math.round(speed(samples)),
    openP50Ratio: ratio('open', 0.5),
    openP99Ratio: ratio('open', 0.99),
    freshP50Ratio: ratio('fresh', 0.5),
    freshP99Ratio: ratio('fresh', 0.99),
    throughputRatio: digits(speed(samples) / speed(reference), 3),
  }
}

const deviceOf = async ({ signed }: Installation, name: string): Promise<string> => {
  const { text } = await signed.invoke(name, { address: true })
  const [route] = JSON.parse(
    execFileSync('ip', ['-j', 'route', 'get', JSON.parse(text) as string], { encoding: 'utf8' }),
  ) as [{ dev: string }]
  return route.dev
}

const measure = async (
  installation: Installation,
  outside: TrafficTarget,
  rounds: number,
  progress: (line: string) => void,
): Promise<NetworkRow[]> => {
  const { client, signed, agent, connection } = installation
  const name = 'bench-network'
  const withAddress = source.replace(
    'export const handler = async (',
    `import os from 'node:os'
export const handler = async (event) => event.address ? os.networkInterfaces().eth0.find(({ family }) => family === 'IPv4').address : run(event)
const run = async (`,
  )
  await createFunction(client, name, withAddress, {
    MemorySize: 1024,
    Timeout: 120,
    Tags: { 'forkyard:keep-alive-ms': '3600000' },
  })
  const put = async (policy: NetworkPolicy): Promise<void> => {
    const path = `/forkyard/v1/functions/${name}/network-policy`
    await signedFetch(connection, { method: 'PUT', path, body: policy })
  }
  await put(policyOf(10, outside.address4))
  const device = await deviceOf(installation, name)
  const variants = variantsOf(put, outside.address4, device, agent.runDir)
  const samples = new Map<Variant, Sample[]>(variants.map((variant) => [variant, []]))
  const event = { host: outside.address4, roundTrips, connections, streamMiB }
  for (let round = 0; round <= rounds; round++)
    for (const variant of shuffled(variants)) {
      removeNftables()
      await variant.prepare()
      // The first connection after a change, and what the change itself costs, are not measured.
      await signed.invoke(name, { ...event, roundTrips: 10, connections: 5, streamMiB: 1 })
      const { text, startType } = await signed.invoke(name, event)
      if (startType !== 'warm') throw new Error(`another instance served: ${startType}`)
      // The first round warms up.
      if (round > 0) samples.get(variant)?.push(JSON.parse(text) as Sample)
      progress(`round ${round} of ${rounds}: ${variant.name} ${variant.rules}`)
    }
  const reference = samples.get(variants[0] as Variant) ?? []
  return variants.map((variant) => rowOf(variant, samples.get(variant) ?? [], reference))
}

export const benchNetwork = (
  rounds: number,
  progress: (line: string) => void,
): Promise<{ machine: Machine; rows: NetworkRow[] }> =>
  withInstallation({}, progress, async (installation) => {
    const outside = await startTrafficTarget()
    try {
      const rows = await measure(installation, outside, rounds, progress)
      return { machine: describeMachine(installation.agent), rows }
    } finally {
      removeNftables()
      outside.close()
    }
  })
