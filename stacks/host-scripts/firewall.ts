/**
 * The ports of an installation on this host, open to the hosts that need them and closed to everybody else: `ensure`, `check`, `remove`. One nftables
 * table of its own; what other rules the host has stays. A unit loads it at boot, before the network is up.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Type, type Static } from 'typebox'
import { prefixFamily } from '../join-from.ts'
import { fileDrift, sayDrift } from './drift.ts'
import { readInput } from './input.ts'
import { firewallUnitName, installUnit, removeUnit, unitDrift } from './systemd.ts'
import { removeFile, writeFileIfChanged } from './write-file.ts'

const run = promisify(execFile)

export const FirewallSpec = Type.Object({
  installation: Type.String({ pattern: '^[a-z][a-z0-9-]*$' }),
  stateDir: Type.String({ pattern: '^/' }),
  ports: Type.Array(
    Type.Object({
      port: Type.Integer(),
      /** IP addresses of the hosts that may connect, and prefixes of such; this host always may. */
      from: Type.Array(Type.String()),
    }),
  ),
})
export type FirewallSpec = Static<typeof FirewallSpec>

export const tableName = (installation: string): string => `forkyard_${installation.replaceAll('-', '_')}`

const sourceRules = ({ port, from }: FirewallSpec['ports'][number]): string[] => {
  const families = [
    ['ip', from.filter((address) => isIP(address) === 4)],
    ['ip6', from.filter((address) => isIP(address) === 6)],
  ] as const
  const accept = families.flatMap(([family, addresses]) =>
    addresses.length > 0 ? [`tcp dport ${port} ${family} saddr { ${addresses.join(', ')} } accept`] : [],
  )
  // Each by itself: a set must not hold an address twice, and prefixes may hold each other.
  const prefixes = from.flatMap((prefix) => {
    const family = prefixFamily(prefix)
    return family === 0 ? [] : [`tcp dport ${port} ${family === 4 ? 'ip' : 'ip6'} saddr ${prefix} accept`]
  })
  return [...accept, ...prefixes, `tcp dport ${port} counter drop`]
}

/** Replaces the table in one step: no moment without rules. */
export const ruleSet = ({ installation, ports }: FirewallSpec): string => {
  const table = `table inet ${tableName(installation)}`
  const rules = ['iif lo accept', ...ports.flatMap(sourceRules)]
  return `${table}
delete ${table}
${table} {
  chain input {
    type filter hook input priority filter - 10; policy accept;
${rules.map((rule) => `    ${rule}\n`).join('')}  }
}
`
}

const rulesFile = ({ stateDir }: FirewallSpec): string => join(stateDir, 'firewall.nft')

const unit = (spec: FirewallSpec): string => `[Unit]
Description=Forkyard ${spec.installation}: firewall
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
RequiresMountsFor=${spec.stateDir}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f ${rulesFile(spec)}
ExecReload=/usr/sbin/nft -f ${rulesFile(spec)}

[Install]
WantedBy=sysinit.target
`

/** Idempotent. */
export const ensureFirewall = async (spec: FirewallSpec): Promise<void> => {
  writeFileIfChanged(rulesFile(spec), ruleSet(spec))
  await installUnit(firewallUnitName(spec.installation), unit(spec))
  // Whatever happened to the table meanwhile.
  await run('nft', ['-f', rulesFile(spec)])
}

/** Whether the rules are in force is asked of the kernel, and only for their number: it writes them in its own way. */
const check = async (spec: FirewallSpec): Promise<void> => {
  const loaded = await run('nft', ['list', 'table', 'inet', tableName(spec.installation)]).then(
    ({ stdout }) => stdout.split('\n').filter((line) => /\b(accept|drop)$/.test(line.trim())).length,
    () => 0,
  )
  const wanted = ruleSet(spec)
    .split('\n')
    .filter((line) => /\b(accept|drop)$/.test(line.trim())).length
  sayDrift([
    ...fileDrift(rulesFile(spec), ruleSet(spec)),
    ...(await unitDrift(firewallUnitName(spec.installation), unit(spec))),
    ...(loaded === wanted ? [] : [`table ${tableName(spec.installation)}: ${loaded} of ${wanted} rules are in force`]),
  ])
}

/** Idempotent. */
export const removeFirewall = async (spec: FirewallSpec): Promise<void> => {
  await removeUnit(firewallUnitName(spec.installation))
  if (existsSync('/usr/sbin/nft'))
    await run('nft', ['delete', 'table', 'inet', tableName(spec.installation)]).catch(() => undefined)
  removeFile(rulesFile(spec))
}

export const firewallCommand = async ([name = '']: readonly string[]): Promise<void> => {
  const verb = { ensure: ensureFirewall, check, remove: removeFirewall }[name]
  if (!verb) throw new Error('usage: firewall ensure|check|remove')
  await verb(readInput(FirewallSpec))
}
