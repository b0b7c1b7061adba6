/** One host of a lab: a Debian system that was booted by systemd-nspawn, reached over SSH alone. */
import { spawn } from 'node:child_process'
import { appendFileSync, copyFileSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { vi } from 'vitest'
import { run } from '../../../scripts/setup/run.ts'
import { endGroups, makeGroups } from './control-groups.ts'
import { removeLink, type LabNetwork } from './network.ts'

export interface LabHostSettings {
  readonly name: string
  readonly dir: string
  /** Name of its control groups. */
  readonly group: string
  readonly network: LabNetwork
  readonly address: string
  /** Private key of the lab, a file. */
  readonly keyFile: string
  readonly memoryMiB: number
}

/** What a machine has and a container does not: control groups that may be written to. */
const groupsUnit = `[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for name in memory cpu pids; do mount -o remount,rw,bind /sys/fs/cgroup/$$name; done'
[Install]
WantedBy=sysinit.target
`

const systemCalls = '@mount @keyring @raw-io bpf perf_event_open ptrace seccomp process_vm_readv userfaultfd'

export class LabHost {
  readonly name: string
  readonly address: string
  readonly #settings: LabHostSettings

  constructor(settings: LabHostSettings) {
    this.#settings = settings
    this.name = settings.name
    this.address = settings.address
  }

  get #root(): string {
    return join(this.#settings.dir, this.name)
  }

  /** Type and base64 of its own key, as a configuration wants it. */
  get hostKey(): string {
    const text = readFileSync(join(this.#root, 'etc/ssh/ssh_host_ed25519_key.pub'), 'utf8')
    return text.split(' ').slice(0, 2).join(' ')
  }

  /** From the base system. @param user whose sudo asks for no password; root may log in all the same */
  async install(base: string, user: string): Promise<void> {
    const { dir, network, address, keyFile, name } = this.#settings
    await run('cp', ['-a', '--reflink=auto', base, this.#root])
    const file = (path: string) => join(this.#root, path)
    writeFileSync(file('etc/hostname'), `${name}\n`)
    writeFileSync(file('etc/hosts'), `127.0.0.1 localhost\n127.0.1.1 ${name}\n`)
    writeFileSync(
      file('etc/systemd/network/10-host0.network'),
      `[Match]\nName=host0\n[Network]\nAddress=${address}/24\nGateway=${network.prefix}.1\n`,
    )
    copyFileSync('/etc/resolv.conf', file('etc/resolv.conf'))
    writeFileSync(file('etc/systemd/system/lab-groups.service'), groupsUnit)
    await run('chroot', [this.#root, 'ssh-keygen', '-q', '-A'])
    await run('chroot', [this.#root, 'systemctl', '--quiet', 'enable', 'systemd-networkd', 'ssh', 'lab-groups'])
    await run('chroot', [this.#root, 'useradd', '--create-home', '--shell', '/bin/sh', user])
    writeFileSync(file('etc/sudoers.d/lab'), `${user} ALL=(ALL) NOPASSWD: ALL\n`, { mode: 0o440 })
    for (const home of ['root', `home/${user}`]) {
      mkdirSync(file(`${home}/.ssh`), { recursive: true, mode: 0o700 })
      copyFileSync(`${keyFile}.pub`, file(`${home}/.ssh/authorized_keys`))
    }
    await run('chroot', [this.#root, 'chown', '-R', `${user}:`, `/home/${user}/.ssh`])
    appendFileSync(join(dir, 'known_hosts'), `${address} ${this.hostKey}\n`)
  }

  async start(): Promise<void> {
    const { group, network, memoryMiB, dir } = this.#settings
    const joins = makeGroups(group, memoryMiB)
    const log = openSync(join(dir, `${this.name}.log`), 'a')
    const nspawn = [
      'systemd-nspawn',
      '--quiet',
      '-D',
      this.#root,
      `--machine=${group}`,
      `--hostname=${this.name}`,
    ].concat([
      '--register=no',
      '--keep-unit',
      '--console=pipe',
      `--network-bridge=${network.bridge}`,
      '--capability=all',
      `--system-call-filter=${systemCalls}`,
      '--boot',
    ])
    const script = `${joins.map((_, index) => `echo 0 > "$${index + 1}"`).join('; ')}; shift ${joins.length}; exec "$@"`
    spawn('/bin/sh', ['-c', script, 'sh', ...joins, ...nspawn], { stdio: ['ignore', log, log], detached: true }).unref()
    try {
      await vi.waitFor(() => this.ssh('true'), { timeout: 60_000, interval: 300 })
    } catch (error) {
      const said = readFileSync(join(dir, `${this.name}.log`), 'utf8').slice(-2000)
      throw new Error(`the host ${this.name} does not come up: ${said}`, { cause: error })
    }
  }

  /** A power cut. */
  async cutPower(): Promise<void> {
    const { group } = this.#settings
    await endGroups(group, false)
    // By the name that nspawn gives it. A busy kernel takes seconds to drop the namespace and this with it; until then there is no other of the name.
    await removeLink(`vb-${group}`)
  }

  /** Runs a line of shell as root. @returns its stdout @throws CommandError */
  ssh(line: string): Promise<string> {
    const { keyFile, dir } = this.#settings
    const options = ['-F', 'none', '-i', keyFile, '-o', `UserKnownHostsFile=${join(dir, 'known_hosts')}`].concat(
      ['StrictHostKeyChecking=yes', 'BatchMode=yes', 'ConnectTimeout=5', 'LogLevel=ERROR'].flatMap((option) => [
        '-o',
        option,
      ]),
    )
    return run('ssh', [...options, `root@${this.address}`, line], { timeoutMs: 120_000 })
  }
}
