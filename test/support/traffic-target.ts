/**
 * Somebody to talk to, outside of this host: a network namespace with addresses of its own, joined to the host by a veth pair. TCP and UDP on
 * any port of `ports` answer `<address of the asker> <what was said>`. Only the test's own process leads there.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const prefix = 'fytarget-'

/** Of the range for benchmarks (RFC 2544), and of one for documentation. */
export interface TrafficTarget {
  readonly address4: string
  readonly address6: string
  /** A second address, which no rule names. */
  readonly other4: string
  /** The host's side of the pair. */
  readonly host4: string
  readonly host6: string
  readonly ports: readonly number[]
  /** `<address> <text>` of each datagram that arrived. */
  readonly heard: readonly string[]
  /** Its name server. */
  readonly nameServer: string
  readonly netns: string
  readonly device: string
  close(): void
}

const run = (...args: readonly [string, ...string[]]): void => {
  execFileSync(args[0], args.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] })
}

export const targetPorts = [7001, 7002, 7003] as const

/** What runs that were killed left behind. */
const removeAbandoned = (): void => {
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : [])
    if (name.startsWith(prefix) && !existsSync(`/proc/${name.slice(prefix.length)}`)) run('ip', 'netns', 'del', name)
}

/** @param subnet third byte of its addresses: two at a time need different ones. */
export const startTrafficTarget = async (subnet = process.pid % 250): Promise<TrafficTarget> => {
  removeAbandoned()
  const netns = `${prefix}${process.pid}`
  const device = `fyt${process.pid}`
  const [host4, address4, other4] = [1, 2, 3].map((last) => `198.18.${subnet}.${last}`) as [string, string, string]
  const [host6, address6] = [1, 2].map((last) => `2001:db8:${subnet.toString(16)}::${last}`) as [string, string]
  run('ip', 'netns', 'add', netns)
  let child: ChildProcess | undefined
  const close = (): void => {
    child?.kill('SIGKILL')
    run('ip', 'netns', 'del', netns)
  }
  try {
    run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns)
    run('ip', 'addr', 'add', `${host4}/24`, 'dev', device)
    run('ip', 'addr', 'add', `${host6}/64`, 'dev', device, 'nodad')
    run('ip', 'link', 'set', device, 'up')
    const inside = ['ip', '-n', netns] as const
    run(...inside, 'link', 'set', 'lo', 'up')
    run(...inside, 'addr', 'add', `${address4}/24`, 'dev', 'eth0')
    run(...inside, 'addr', 'add', `${other4}/24`, 'dev', 'eth0')
    run(...inside, 'addr', 'add', `${address6}/64`, 'dev', 'eth0', 'nodad')
    run(...inside, 'link', 'set', 'eth0', 'up')
    run(...inside, 'route', 'add', 'default', 'via', host4)
    run(...inside, 'route', 'add', 'default', 'via', host6)
    const zone = {
      'open.test': address4,
      'api.open.test': address4,
      'six.test': address6,
      'closed.test': address4,
      'inside.test': host4,
      'metadata.test': '169.254.169.254',
    }
    const program = join(import.meta.dirname, 'traffic-server.ts')
    const server = [process.execPath, program, JSON.stringify(zone), ...targetPorts.map(String)]
    child = spawn('ip', ['netns', 'exec', netns, ...server], { stdio: ['ignore', 'pipe', 'inherit'] })
    if (!child.stdout) throw new Error('the server has no output')
    await Promise.race([
      once(child.stdout, 'data'),
      once(child, 'exit').then(() => Promise.reject(new Error('the traffic server ended'))),
    ])
    const heard: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => heard.push(line))
    const nameServer = `${address4}:5300`
    return { address4, address6, other4, host4, host6, ports: targetPorts, heard, nameServer, netns, device, close }
  } catch (error) {
    close()
    throw error
  }
}
