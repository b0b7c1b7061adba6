/** `forkyard-node join|upgrade|leave`, from the bundle in which it lies. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { Value } from 'typebox/value'
import { NodeName } from '../../services/contracts/joining.ts'
import { shutConfiguredPort } from './firewall.ts'
import { joinInstallation, type JoinWish } from './join.ts'
import { leaveInstallation } from './leave.ts'
import { upgradeNode } from './upgrade.ts'

const usage = `usage: forkyard-node join --token-file FILE|- --name NAME --address IP [--port N] [--memory-mib N] [--instances N]
       forkyard-node upgrade   this machine's node, to the release of this bundle
       forkyard-node leave

  --token-file  of \`forkyard node token\`; - is standard input. Not needed to go on with a join that was cut short
  --name        of the node, unique in the installation: lower-case letters, digits, -
  --address     IP address of this machine at which gateways and schedulers reach it
  --port        for them; default 9002
  --memory-mib  sum of the memory of all instances, MiB; default 60 % of the machine
  --instances   at the same time; default 256
`

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const whole = (name: string, text: string, least: number, most: number): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < least || value > most)
    throw new Error(`--${name} ${text}: a whole number from ${least} to ${most} is expected`)
  return value
}

const wishOf = (args: readonly string[]): JoinWish => {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      'token-file': text,
      name: text,
      address: text,
      port: text,
      'memory-mib': text,
      instances: text,
    },
  })
  const { name = '', address = '', port = '9002', instances = '256' } = values
  if (!Value.Check(NodeName, name))
    throw new Error(`--name '${values.name ?? ''}': lower-case letters, digits and - are expected`)
  if (isIP(address) === 0) throw new Error(`--address '${address}': an IP address is expected`)
  const memory = values['memory-mib']
  return {
    name,
    address,
    port: whole('port', port, 1, 65_535),
    instances: whole('instances', instances, 1, 100_000),
    memoryMiB: memory === undefined ? undefined : whole('memory-mib', memory, 128, 16 * 1024 * 1024),
    token: () => {
      const file = values['token-file']
      if (file === undefined) throw new Error('--token-file is needed')
      return readFileSync(file === '-' ? 0 : file, 'utf8')
    },
  }
}

const [verb, ...args] = process.argv.slice(2)
const bundle = dirname(import.meta.dirname)
try {
  if (verb === 'join') {
    process.stdout.write(`${await joinInstallation(bundle, wishOf(args), say)} is ready\n`)
  } else if (verb === 'upgrade') {
    process.stdout.write(`${await upgradeNode(bundle, say)} is ready\n`)
  } else if (verb === 'shut-port') {
    // For the agent's unit.
    await shutConfiguredPort()
  } else if (verb === 'leave') {
    await leaveInstallation()
    process.stdout.write('nothing of a node is on this machine\n')
  } else {
    process.stderr.write(usage)
    process.exitCode = 2
  }
} catch (error) {
  say(`forkyard-node: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
