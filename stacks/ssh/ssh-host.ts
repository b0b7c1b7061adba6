/**
 * Another machine, over SSH. Every resource is a command of this machine that opens a connection, does one thing and ends: what the
 * engine has to know of it is in the command's input, connection included, so that it can be taken away when the configuration has
 * forgotten the host.
 */
import { join } from 'node:path'
import type { local } from '@pulumi/command'
import * as pulumi from '@pulumi/pulumi'
import type { StackConfig } from '../config.ts'
import type { HostConfig } from '../host-config.ts'
import { runHere, type Host, type HostCommand, type ServiceCode } from '../host.ts'
import type { Connection } from './connection.ts'
import type { PlacedFile } from './place.ts'

/** A file of the host, by its content. */
export type HostFile = { readonly [Key in keyof PlacedFile]: pulumi.Input<PlacedFile[Key]> }

/** A secret, whether there is a key in it or not. */
export const connectionOf = (host: HostConfig, config: StackConfig): pulumi.Output<Connection> => {
  const privateKey = host.privateKey ?? config.sshPrivateKey
  const { name, address, port, user, hostKey } = host
  return pulumi.secret({ name, address, port, user, hostKey, ...(privateKey ? { privateKey } : {}) })
}

export interface PlaceArgs {
  readonly files: readonly HostFile[]
  readonly triggers?: pulumi.Input<string>[]
  /** Directory of which nothing but these files, and those of one generation before, is kept. */
  readonly prune?: string
}

export class SshHost implements Host {
  readonly prefix: string
  readonly #config: StackConfig
  readonly #repoRoot: string
  readonly #connection: pulumi.Output<Connection>
  readonly #ready: pulumi.Resource[] = []
  #scriptsDigest: pulumi.Input<string> = ''

  constructor(host: HostConfig, config: StackConfig, repoRoot: string) {
    this.prefix = `${host.name}-`
    this.#config = config
    this.#repoRoot = repoRoot
    this.#connection = connectionOf(host, config)
  }

  /** Other scripts may make other things of the same input: whatever a script made is made again by them. */
  useScripts(digest: pulumi.Input<string>): void {
    this.#scriptsDigest = digest
  }

  /** What comes later waits for this: host scripts need their Node.js. */
  waitFor(resource: pulumi.Resource): void {
    this.#ready.push(resource)
  }

  run(name: string, command: HostCommand, options: pulumi.CustomResourceOptions): local.Command {
    const { script, create, delete: remove, input, triggers, turn } = command
    return this.runFile(
      name,
      {
        file: 'script.ts',
        create: ['ensure', script, ...create],
        ...(remove ? { delete: ['remove', script, ...remove] } : {}),
        input: { lock: name, scripts: this.#scriptsDigest, ...(turn ? { turn } : {}), input },
        ...(triggers ? { triggers } : {}),
      },
      options,
    )
  }

  placeCode(name: string, { entryPoint, sha256, path }: ServiceCode, options: pulumi.CustomResourceOptions) {
    const source = { entryPoint, root: this.#repoRoot }
    return this.place(name, { files: [{ source, sha256, path }], triggers: [path] }, options)
  }

  place(name: string, { files, prune, triggers }: PlaceArgs, options: pulumi.CustomResourceOptions): local.Command {
    const input = { files, ...(prune ? { prune } : {}) }
    const command = { file: 'place.ts', create: ['ensure'], delete: ['remove'], input }
    return this.runFile(name, { ...command, ...(triggers ? { triggers } : {}) }, options)
  }

  /** A command of this folder, which gets the connection with its input. */
  runFile(
    name: string,
    { file, input, ...command }: Omit<Parameters<typeof runHere>[2], 'input'> & { readonly input: object },
    options: pulumi.CustomResourceOptions,
  ): local.Command {
    const { installation, stateDir } = this.#config
    const dependsOn = [...([options.dependsOn ?? []].flat() as pulumi.Resource[]), ...this.#ready]
    return runHere(
      installation,
      `${this.prefix}${name}`,
      {
        ...command,
        file: join(this.#repoRoot, 'stacks', 'ssh', file),
        input: { connection: this.#connection, installation, stateDir, ...input },
      },
      { ...options, dependsOn },
    )
  }
}
