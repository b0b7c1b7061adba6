/**
 * A machine on which components run commands: this one (`LocalHost`), or another over SSH (`ssh/ssh-host.ts`). No component knows which.
 *
 * A command is a host script with one verb to make the thing and one to take it away, both idempotent. Its input goes
 * through stdin as one JSON value, so that secrets are neither in an argument vector nor in the state unencrypted. Its result
 * is the JSON value on stdout, which the engine also shows: never a secret.
 */
import { join } from 'node:path'
import { local } from '@pulumi/command'
import * as pulumi from '@pulumi/pulumi'
import { ownerVariable } from './host-scripts/processes.ts'
import { shellQuote } from './shell-quote.ts'

/** Where each script lies in the tree. `host-scripts/main.ts` says which of them a host of SSH has. */
export const scripts = {
  directories: 'stacks/host-scripts/leftovers.ts',
  service: 'stacks/host-scripts/service.ts',
  'service-code': 'stacks/host-scripts/service-code.ts',
  file: 'stacks/host-scripts/file.ts',
  firewall: 'stacks/host-scripts/firewall.ts',
  cordon: 'stacks/host-scripts/cordon.ts',
  image: 'images/build.ts',
  checkpoint: 'images/checkpoint.ts',
  addon: 'services/node-agent/native/build.ts',
  'oci-image': 'stacks/kubernetes/images/build.ts',
  'oci-import': 'stacks/kubernetes/images/import.ts',
  'oci-push': 'stacks/kubernetes/images/push.ts',
} as const
export type ScriptName = keyof typeof scripts

export interface HostCommand {
  readonly script: ScriptName
  /** Arguments that make or change the thing. An update runs it again with the new input. */
  readonly create: readonly string[]
  /** Arguments that take it away; absent: nothing is to be done. */
  readonly delete?: readonly string[]
  /** A secret in it makes input and result secret, and so encrypted in the state. */
  readonly input?: pulumi.Input<unknown>
  /** A change replaces the thing. */
  readonly triggers?: pulumi.Input<string>[]
  /** Of things with the same turn on different hosts, one at a time is updated; whether it succeeds is its own affair. */
  readonly turn?: string
}

export interface ServiceCode {
  /** Relative to the tree's root. */
  readonly entryPoint: string
  /** Of the bundle. */
  readonly sha256: pulumi.Input<string>
  readonly digest: pulumi.Input<string>
  /** On the host; holds the digest. */
  readonly path: pulumi.Input<string>
}

export interface Host {
  /** What sets the names of its resources apart from those of other hosts; empty where there is one host. */
  readonly prefix: string
  run(name: string, command: HostCommand, options: pulumi.CustomResourceOptions): pulumi.CustomResource & HostResult
  /** A service's bundle, there before whoever depends on it; removed after the last of them moved on. */
  placeCode(name: string, code: ServiceCode, options: pulumi.CustomResourceOptions): pulumi.CustomResource
}

export interface HostResult {
  readonly stdout: pulumi.Output<string>
}

/** What the script printed, parsed. Unknown in a preview that would run it. */
export const resultOf = <T>(resource: HostResult): pulumi.Output<T> =>
  resource.stdout.apply((text) => JSON.parse(text) as T)

export interface LocalCommand {
  /** Absolute path of a script of this tree. */
  readonly file: string
  readonly create: readonly string[]
  readonly delete?: readonly string[]
  readonly input?: pulumi.Input<unknown>
  readonly triggers?: pulumi.Input<string>[]
  readonly environment?: Readonly<Record<string, string>>
}

/** A script of this tree on the Node.js that runs the program, found by whoever cleans up after a killed engine. */
export const runHere = (
  installation: string,
  name: string,
  { file, create, delete: remove, input, triggers, environment = {} }: LocalCommand,
  options: pulumi.CustomResourceOptions,
): local.Command => {
  const line = (args: readonly string[]) => [process.execPath, file, ...args].map(shellQuote).join(' ')
  return new local.Command(
    name,
    {
      create: line(create),
      ...(remove ? { delete: line(remove) } : {}),
      ...(input === undefined ? {} : { stdin: pulumi.jsonStringify(input) }),
      ...(triggers ? { triggers } : {}),
      environment: {
        [ownerVariable]: installation,
        // The engine's temporary directory and passphrase stop here.
        TMPDIR: '/tmp',
        PULUMI_CONFIG_PASSPHRASE: '',
        PULUMI_CONFIG_PASSPHRASE_FILE: '',
        ...environment,
      },
    },
    options,
  )
}

/** This machine. */
export class LocalHost implements Host {
  readonly prefix = ''
  readonly #installation: string
  readonly #repoRoot: string

  constructor(installation: string, repoRoot: string) {
    this.#installation = installation
    this.#repoRoot = repoRoot
  }

  run(name: string, { script, ...command }: HostCommand, options: pulumi.CustomResourceOptions): local.Command {
    return runHere(this.#installation, name, { ...command, file: join(this.#repoRoot, scripts[script]) }, options)
  }

  placeCode(name: string, { entryPoint, digest, path }: ServiceCode, options: pulumi.CustomResourceOptions) {
    const input = { path, entryPoint, root: this.#repoRoot, digest }
    return this.run(
      name,
      { script: 'service-code', create: ['put'], delete: ['remove'], input, triggers: [path] },
      options,
    )
  }
}
