/** What a test looks at on a host of a lab. */
import type { NodeView } from '../../../services/scheduler/routes/nodes.ts'
import type { LabHost } from './lab-host.ts'
import type { LabStack } from './lab-stack.ts'

type Installation = Pick<LabStack, 'installation' | 'stateDir' | 'runDir'>

export const unit = ({ installation }: Installation, service: string): string =>
  `forkyard-${installation}-${service}.service`

export const pidOf = async (host: LabHost, stack: Installation, service: string): Promise<number> => {
  const pid = Number(await host.ssh(`systemctl show --value -p MainPID ${unit(stack, service)}`))
  if (!(pid > 0)) throw new Error(`${service} does not run on ${host.name}`)
  return pid
}

/** Runs a program on the Node.js of the installation. @returns its stdout */
export const runNode = (host: LabHost, { stateDir }: Installation, program: string): Promise<string> =>
  host.ssh(`${stateDir}/bin/node <<'EOF'\n${program}\nEOF`)

/** What the scheduler, which runs on `host`, knows of the nodes; by id. */
export const nodesOf = async (host: LabHost, stack: Installation): Promise<NodeView[]> => {
  const script = `
const { readFileSync } = require('fs')
const { listen, internalToken, tls } = JSON.parse(readFileSync('${stack.stateDir}/services/scheduler/config.json'))
const headers = { authorization: 'Bearer ' + internalToken }
const options = { host: listen.host, port: listen.port, path: '/v1/nodes', headers, ca: tls.ca, servername: 'scheduler' }
require('https').get(options, (reply) => reply.pipe(process.stdout))`
  const text = await runNode(host, stack, script)
  const { nodes } = JSON.parse(text) as { nodes: NodeView[] }
  return nodes.toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
}

/** Everything of the system that an installation could leave behind, whatever its name: the same before and after. */
export const traces = async (host: LabHost): Promise<Record<string, string>> => {
  const lines = {
    units: 'ls /etc/systemd/system',
    enabled: 'find /etc/systemd/system -type l | sort',
    settings: 'ls /etc/sysctl.d',
    users: 'cut -d: -f1 /etc/passwd /etc/group | sort',
    state: 'ls /var/lib | grep -i forkyard || true',
    run: 'ls /run /run/lock | grep -i forkyard || true',
    rules: 'if command -v nft > /dev/null; then nft list ruleset; fi',
    groups: 'find /sys/fs/cgroup -maxdepth 2 -name "forkyard*"',
    mapCount: 'cat /proc/sys/vm/max_map_count',
  }
  const entries = Object.entries(lines).map(async ([name, line]) => [name, await host.ssh(line)] as const)
  return Object.fromEntries(await Promise.all(entries))
}

/** Processes that run something of the installation. */
export const left = async (host: LabHost, { stateDir, runDir }: Installation): Promise<string[]> => {
  const text = await host.ssh(`ps -eo args | grep -E '${stateDir}|${runDir}|runsc' | grep -v grep || true`)
  return text.split('\n').filter(Boolean)
}

export interface StreamView {
  readonly config: { readonly name: string; readonly num_replicas: number }
  readonly cluster: {
    readonly leader?: string
    readonly replicas: readonly { readonly name: string; readonly current: boolean }[]
  }
}

/** Every stream, asked of NATS as the gateway on `host` would; this machine is not let in. */
export const streamsOf = async (host: LabHost, stack: Installation): Promise<StreamView[]> => {
  const script = `
const { readFileSync } = require('fs')
const { nats } = JSON.parse(readFileSync('${stack.stateDir}/services/gateway/config.json'))
const [server] = nats.servers
const { hostname, port } = new URL(server)
const plain = require('net').connect(port, hostname, () => plain.once('data', () => {
  const socket = require('tls').connect({ socket: plain, ca: nats.tls.ca, servername: nats.tls.name }, () => {
    socket.write('CONNECT ' + JSON.stringify({ verbose: false, pedantic: false, user: nats.user, pass: nats.password, tls_required: true }) + '\\r\\n')
    socket.write('SUB _INBOX_gateway.answer 1\\r\\nPUB $JS.API.STREAM.LIST _INBOX_gateway.answer 0\\r\\n\\r\\n')
  })
  let text = ''
  socket.on('data', (part) => {
    text += part
    const message = /^MSG _INBOX_gateway.answer \\d+ (\\d+)\\r\\n/m.exec(text)
    const body = message && text.slice(message.index + message[0].length)
    if (!body || Buffer.byteLength(body) < Number(message[1]) + 2) return
    console.log(JSON.stringify(JSON.parse(body.slice(0, body.lastIndexOf('\\r\\n'))).streams))
    process.exit(0)
  })
}))
setTimeout(() => process.exit(1), 10000)`
  return JSON.parse(await runNode(host, stack, script)) as StreamView[]
}
