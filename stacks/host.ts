/**
 * A machine on which components run commands. Today it is this one; another host is another `Host`, and no component changes.
 *
 * A command is a script of `host-scripts/`, one verb to make the thing and one to take it away, both idempotent. Its input goes
 * through stdin as one JSON value, so that secrets are neither in an argument vector nor in the state unencrypted. Its result
 * is the JSON value on stdout, which the engine also shows: never a secret.
 */
import { local } from '@pulumi/command'
import * as pulumi from '@pulumi/pulumi'
import { ownerVariable } from './host-scripts/processes.ts'

export interface HostCommand {
  /** Absolute path of the script on the host. */
  readonly script: string
  /** Arguments that make or change the thing. An update runs it again with the new input. */
  readonly create: readonly string[]
  /** Arguments that take it away; absent: nothing is to be done. */
  readonly delete?: readonly string[]
  /** A secret in it makes input and result secret, and so encrypted in the state. */
  readonly input?: pulumi.Input<unknown>
  /** A change replaces the thing. */
  readonly triggers?: pulumi.Input<string>[]
}

export interface Host {
  run(name: string, command: HostCommand, options: pulumi.CustomResourceOptions): pulumi.CustomResource & HostResult
}

export interface HostResult {
  readonly stdout: pulumi.Output<string>
}

/** What the script printed, parsed. Unknown in a preview that would run it. */
export const resultOf = <T>(resource: HostResult): pulumi.Output<T> =>
  resource.stdout.apply((text) => JSON.parse(text) as T)

/** This machine. Scripts run on the Node.js that runs the program. */
export class LocalHost implements Host {
  readonly #installation: string

  constructor(installation: string) {
    this.#installation = installation
  }

  run(name: string, command: HostCommand, options: pulumi.CustomResourceOptions): local.Command {
    const line = (args: readonly string[]) => [process.execPath, command.script, ...args].map(quote).join(' ')
    return new local.Command(
      name,
      {
        create: line(command.create),
        ...(command.delete ? { delete: line(command.delete) } : {}),
        ...(command.input === undefined ? {} : { stdin: pulumi.jsonStringify(command.input) }),
        ...(command.triggers ? { triggers: command.triggers } : {}),
        environment: {
          // Whoever cleans up after a killed engine finds its commands by this.
          [ownerVariable]: this.#installation,
          // The engine's temporary directory and passphrase stop here.
          TMPDIR: '/tmp',
          PULUMI_CONFIG_PASSPHRASE: '',
          PULUMI_CONFIG_PASSPHRASE_FILE: '',
        },
      },
      options,
    )
  }
}

const quote = (argument: string): string => `'${argument.replaceAll("'", String.raw`'\''`)}'`
