/** Services as units of systemd, named `forkyard-<installation>-<name>.service`. Logs go to the journal. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ServiceSpec } from './service-spec.ts'
import type { Supervisor } from './supervisor.ts'
import { writeFileIfChanged } from './write-file.ts'

const exec = promisify(execFile)
const unitDir = '/etc/systemd/system'

const serviceNames = ['nats', 'scheduler', 'gateway', 'node-agent']

export const unitName = ({ installation, name }: Pick<ServiceSpec, 'installation' | 'name'>): string =>
  `forkyard-${installation}-${name}.service`

/** Quoted for `ExecStart`: no variables, no specifiers. */
const word = (text: string): string =>
  `"${text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', String.raw`\"`)
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$')}"`

const hardening = `NoNewPrivileges=yes
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
AmbientCapabilities=
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
PrivateDevices=yes
PrivateTmp=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
`

export const unitFile = (spec: ServiceSpec): string => `[Unit]
Description=Forkyard ${spec.installation}: ${spec.name}
After=network.target
StartLimitIntervalSec=0

[Service]
ExecStart=${spec.command.map(word).join(' ')}
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec=${Math.ceil(spec.graceMs / 1000)}
${spec.privileges === 'none' ? hardening : ''}
[Install]
WantedBy=multi-user.target
`

export class SystemdSupervisor implements Supervisor {
  async ensure(spec: ServiceSpec, changed: boolean): Promise<void> {
    const unitChanged = writeFileIfChanged(join(unitDir, unitName(spec)), unitFile(spec), 0o644)
    if (unitChanged) await exec('systemctl', ['daemon-reload'])
    await exec('systemctl', ['enable', '--quiet', unitName(spec)])
    await exec('systemctl', [changed || unitChanged ? 'restart' : 'start', unitName(spec)])
  }

  async hasProcesses(spec: ServiceSpec): Promise<boolean> {
    return exec('systemctl', ['is-active', '--quiet', unitName(spec)]).then(
      () => true,
      () => false,
    )
  }

  async repair(spec: ServiceSpec): Promise<void> {
    await exec('systemctl', ['start', unitName(spec)])
  }

  async remove(spec: ServiceSpec): Promise<void> {
    const file = join(unitDir, unitName(spec))
    if (!existsSync(file)) return
    await exec('systemctl', ['disable', '--quiet', '--now', unitName(spec)])
    rmSync(file)
    await exec('systemctl', ['daemon-reload'])
    await exec('systemctl', ['reset-failed', unitName(spec)]).catch(() => undefined)
  }

  async lastLogLines(spec: ServiceSpec, count: number): Promise<string> {
    const { stdout } = await exec('journalctl', ['-u', unitName(spec), '-n', String(count), '-o', 'cat', '--no-pager'])
    return stdout.trimEnd()
  }
}

/** Every unit of an installation, known to anybody or not. Idempotent; nothing where there is no systemd. */
export const removeUnits = async (installation: string): Promise<void> => {
  if (!existsSync(unitDir)) return
  const units = readdirSync(unitDir).filter((file) => isUnitOf(installation, file))
  for (const unit of units) {
    await exec('systemctl', ['disable', '--quiet', '--now', unit])
    rmSync(join(unitDir, unit))
  }
  if (units.length > 0) await exec('systemctl', ['daemon-reload'])
}

/** By whole names: installation `a` does not own the units of `a-b`. */
export const isUnitOf = (installation: string, file: string): boolean =>
  serviceNames.some((name) => file === unitName({ installation, name }))
