import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import * as pulumi from '@pulumi/pulumi'
import { toolPath } from '../../scripts/setup/paths.ts'
import type { ToolName } from '../../scripts/setup/tool-table.ts'
import { bundleService } from '../bundle.ts'
import type { StackConfig } from '../config.ts'
import type { HostConfig, Role } from '../host-config.ts'
import { resultOf } from '../host.ts'
import { prepareScript, undoScript } from '../ssh/prepare-script.ts'
import { hostPrograms } from '../ssh/host-programs.ts'
import { firewallPackages, packagesOf, programPackages } from '../ssh/host-packages.ts'
import type { HostFile, SshHost } from '../ssh/ssh-host.ts'
import type { Programs } from '../site.ts'

const toolsOf: Readonly<Record<Role, readonly ToolName[]>> = {
  gateway: [],
  scheduler: [],
  node: ['runsc'],
  nats: ['nats-server'],
}

export interface HostFacts {
  readonly memoryMiB: number
  readonly cpus: number
  readonly os: string
  /** Kernel settings that the kernel would not have raised. */
  readonly notRaised: string
}

export interface MachineArgs {
  readonly host: HostConfig
  readonly ssh: SshHost
  readonly config: StackConfig
  readonly repoRoot: string
}

/** SHA-256 of a file, once for all hosts. */
const digests = new Map<string, Promise<string>>()
export const sha256Of = (file: string): Promise<string> => {
  const known = digests.get(file)
  if (known) return known
  const digest = (async () => {
    const hash = createHash('sha256')
    await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash)
    return hash.digest('hex')
  })()
  digests.set(file, digest)
  return digest
}

/** A bare host made ready: packages, users, kernel settings, and the programs that lie in its store by their digests. */
export class Machine extends pulumi.ComponentResource {
  readonly facts: pulumi.Output<HostFacts>
  readonly programs: Programs

  constructor({ host, ssh, config, repoRoot }: MachineArgs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:Machine', host.name, {}, options)
    const { installation, stateDir, cacheDir } = config
    const packages = [
      ...programPackages,
      ...(config.firewall ? firewallPackages : []),
      ...host.roles.flatMap((role) => packagesOf[role]),
    ]
    const preparation = { installation, stateDir, packages: [...new Set(packages)] }
    const prepare = ssh.runFile(
      'prepare',
      {
        file: 'prepare.ts',
        create: ['ensure'],
        delete: ['remove'],
        input: { ensure: prepareScript(preparation), remove: undoScript(preparation) },
        triggers: [installation, stateDir],
      },
      { parent: this, deleteBeforeReplace: true },
    )
    ssh.waitFor(prepare)
    this.facts = resultOf<HostFacts>(prepare)
    this.facts.apply(({ notRaised }) => {
      if (notRaised) void pulumi.log.warn(`${host.name}: the kernel does not let these be raised: ${notRaised}`, this)
    })

    const store = join(stateDir, 'store')
    const stored = (source: string, link?: string): HostFile => {
      const sha256 = pulumi.output(sha256Of(source))
      const path = pulumi.interpolate`${store}/${sha256}/${basename(source)}`
      return {
        source: { file: source },
        sha256,
        path,
        executable: true,
        ...(link ? { link: join(stateDir, link) } : {}),
      }
    }
    const node = stored(process.execPath, hostPrograms.node)
    const entryPoint = join('stacks', 'host-scripts', 'main.ts')
    const bundle = pulumi.output(bundleService(entryPoint, repoRoot))
    const hostScripts: HostFile = {
      source: { entryPoint, root: repoRoot },
      sha256: bundle.sha256,
      path: pulumi.interpolate`${store}/${bundle.sha256}/host-scripts.mjs`,
      link: join(stateDir, hostPrograms.scripts),
    }
    ssh.useScripts(bundle.sha256)
    const names = new Set(host.roles.flatMap((role) => toolsOf[role]))
    const tools = new Map([...names].map((name) => [name, stored(toolPath(name, cacheDir))]))
    const files = [node, hostScripts, ...tools.values()]
    ssh.waitFor(ssh.place('programs', { files, prune: store }, { parent: this }))
    this.programs = {
      node: node.path,
      tool: (name) => {
        const tool = tools.get(name)
        if (!tool) throw new Error(`${host.name} needs ${name}, which none of its roles brings`)
        return tool.path
      },
    }
    this.registerOutputs({})
  }
}
