/** Services as hardened units. What a unit allows is the least with which its service does its work (docs/decisions/0031). */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fileDrift } from './drift.ts'
import type { ServiceSpec } from './service-spec.ts'
import type { Supervisor } from './supervisor.ts'
import { writeFileIfChanged } from './write-file.ts'

const exec = promisify(execFile)
const unitDir = '/etc/systemd/system'

const serviceNames = ['nats', 'scheduler', 'gateway', 'node-agent']

export const unitName = ({ installation, name }: Pick<ServiceSpec, 'installation' | 'name'>): string =>
  `forkyard-${installation}-${name}.service`

export const firewallUnitName = (installation: string): string => unitName({ installation, name: 'firewall' })

/** Quoted for `ExecStart`: no variables, no specifiers. */
const word = (text: string): string =>
  `"${text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', String.raw`\"`)
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$')}"`

/** For every service, the node agent included: none of this is in the way of sandboxes. */
const common = `ProtectHome=read-only
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
RestrictRealtime=yes
LockPersonality=yes
LimitNOFILE=1048576
`

/** Sandboxes take namespaces, mounts, control groups, devices and all of root's capabilities; only the agent's unit lacks these. */
const unprivileged = ({ user, writablePaths = [] }: ServiceSpec): string => {
  // Without a user of its own it is root, which has to read its code in somebody's home.
  const identity = user
    ? `User=${user}\nCapabilityBoundingSet=\nProtectSystem=strict\nReadWritePaths=${writablePaths.map(word).join(' ')}\nProtectProc=invisible\n`
    : 'CapabilityBoundingSet=CAP_DAC_READ_SEARCH\n'
  return `${identity}NoNewPrivileges=yes
ProtectClock=yes
AmbientCapabilities=
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateDevices=yes
PrivateTmp=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RemoveIPC=yes
UMask=0077
SystemCallArchitectures=native
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
`
}

/** The agent's sandboxes have limits of their own. */
const privileged = 'TasksMax=infinity\n'

/** Units share the CPU by their weights, whatever is nice within them; 100 is what all others have. */
const firstWeight = 'CPUWeight=1000\n'

/** A service that says nothing for so long, although it promised to, is killed and started anew; seconds. */
const watchdogSeconds = 30

const notification = ({ notify, readyTimeoutMs }: ServiceSpec): string =>
  notify
    ? `Type=notify\nNotifyAccess=all\nWatchdogSec=${watchdogSeconds}\nTimeoutStartSec=${Math.ceil(readyTimeoutMs / 1000)}\n`
    : ''

export const unitFile = (spec: ServiceSpec): string => `[Unit]
Description=Forkyard ${spec.installation}: ${spec.name}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=${spec.command.map(word).join(' ')}
${notification(spec)}Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec=${Math.ceil(spec.graceMs / 1000)}
OOMPolicy=continue
${spec.first ? firstWeight : ''}${common}${spec.privileges === 'none' ? unprivileged(spec) : privileged}
[Install]
WantedBy=multi-user.target
`

export const installUnit = async (name: string, text: string): Promise<boolean> => {
  const changed = writeFileIfChanged(join(unitDir, name), text, 0o644)
  if (changed) await exec('systemctl', ['daemon-reload'])
  await exec('systemctl', ['enable', '--quiet', name])
  return changed
}

/** @returns a line for each thing that is not as `installUnit` made it */
export const unitDrift = async (name: string, text: string): Promise<string[]> => {
  const says = (verb: string) =>
    exec('systemctl', [verb, '--quiet', name]).then(
      () => true,
      () => false,
    )
  return [
    ...fileDrift(join(unitDir, name), text),
    ...((await says('is-enabled')) ? [] : [`${name} is not enabled`]),
    ...((await says('is-active')) ? [] : [`${name} does not run`]),
  ]
}

/** Idempotent. */
export const removeUnit = async (name: string): Promise<void> => {
  const file = join(unitDir, name)
  if (!existsSync(file)) return
  await exec('systemctl', ['disable', '--quiet', '--now', name])
  rmSync(file)
  await exec('systemctl', ['daemon-reload'])
  await exec('systemctl', ['reset-failed', name]).catch(() => undefined)
}

export class SystemdSupervisor implements Supervisor {
  async ensure(spec: ServiceSpec, changed: boolean): Promise<void> {
    const unitChanged = await installUnit(unitName(spec), unitFile(spec))
    // Not before the old process is gone may anybody ask whether the new one is ready; whoever asks says what is wrong, if it fails.
    await exec('systemctl', [changed || unitChanged ? 'restart' : 'start', unitName(spec)]).catch(() => undefined)
  }

  async hasProcesses(spec: ServiceSpec): Promise<boolean> {
    // One that is still starting, or stopping, is not `active`, but may answer.
    const { stdout } = await exec('systemctl', ['show', '--property=MainPID', '--value', unitName(spec)])
    return Number(stdout) > 0
  }

  drift(spec: ServiceSpec): Promise<string[]> {
    return unitDrift(unitName(spec), unitFile(spec))
  }

  async repair(spec: ServiceSpec): Promise<void> {
    await exec('systemctl', ['start', unitName(spec)]).catch(() => undefined)
  }

  remove(spec: ServiceSpec): Promise<void> {
    return removeUnit(unitName(spec))
  }

  async lastLogLines(spec: ServiceSpec, count: number): Promise<string> {
    const { stdout } = await exec('journalctl', ['-u', unitName(spec), '-n', String(count), '-o', 'cat', '--no-pager'])
    return stdout.trimEnd()
  }
}

/** Every unit of an installation, known to anybody or not. Idempotent; nothing where there is no systemd. */
export const removeUnits = async (installation: string): Promise<void> => {
  if (!existsSync(unitDir)) return
  for (const unit of readdirSync(unitDir).filter((file) => isUnitOf(installation, file))) await removeUnit(unit)
}

/** By whole names: installation `a` does not own the units of `a-b`. */
export const isUnitOf = (installation: string, file: string): boolean =>
  [...serviceNames, 'firewall'].some((name) => file === unitName({ installation, name }))
