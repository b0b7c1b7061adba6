/**
 * Functions as resources of a Pulumi program: `import { Function } from 'forkyard/pulumi'`.
 *
 * ```ts
 * const hello = new Function('hello', { code: './hello', memory: 256, environment: { GREETING: 'Hello' } })
 * export const url = new FunctionUrl('hello', { functionName: hello.name, authType: 'NONE' }).url
 * ```
 */
import * as pulumi from '@pulumi/pulumi'
import type { Binding } from '../contracts/bindings.ts'
import type { NetworkPolicy } from '../contracts/network.ts'

type Text = pulumi.Input<string>
type Texts = pulumi.Input<Record<string, Text>>

/** At any depth. */
type Inputs<T> = pulumi.Input<T extends object ? { readonly [K in keyof T]: Inputs<T[K]> } : T>

export interface ProviderArgs {
  /** Of the gateway, as `http://host:port`. Without it: the environment (`AWS_ENDPOINT_URL`), else the installation on this machine. */
  readonly endpoint?: Text
  readonly region?: Text
  readonly accessKeyId?: Text
  /** Always a secret. */
  readonly secretAccessKey?: Text
}

/** An installation. Only for programs that use more than one, or whose one is neither configured nor in the environment. */
export class Provider extends pulumi.ProviderResource {
  constructor(name: string, args: ProviderArgs, options?: pulumi.ResourceOptions) {
    const { secretAccessKey, ...rest } = args
    const secret = secretAccessKey === undefined ? {} : { secretAccessKey: pulumi.secret(secretAccessKey) }
    super('forkyard', name, { ...rest, ...secret }, options)
  }
}

export interface FunctionArgs {
  /**
   * Directory, or one module; relative to the program's directory. It is packed as `forkyard deploy` does, TypeScript included;
   * `forkyard.json` in it is read, and the properties here win over it.
   */
  readonly code: Text
  /** Default: the resource's name. Another one is another function. */
  readonly name?: Text
  /** `module.export`. Default: what the module exports. */
  readonly handler?: Text
  /** `nodejs24.x`, `python3.11`, `provided.al2023`. Default: by the files. */
  readonly runtime?: Text
  /** MiB. Default 128. */
  readonly memory?: pulumi.Input<number>
  /** Seconds that an invocation may take. Default 3. */
  readonly timeout?: pulumi.Input<number>
  readonly description?: Text
  /** Values of variables that are called like secrets, or that `tags['forkyard:secrets']` names, are secrets in the state. */
  readonly environment?: Texts
  readonly tags?: Texts
  /** Files and directories beside the code that go into the archive as they are. */
  readonly include?: pulumi.Input<Text[]>
  /** Moved to each new version once that is published. Default `live`. */
  readonly alias?: Text
  /** Requests that one instance handles at the same time. Default 1. */
  readonly concurrency?: pulumi.Input<number>
  /** false: an instance ends after its request. */
  readonly reuse?: pulumi.Input<boolean>
  /** How long an idle instance lives, ms. Default: the node decides. */
  readonly keepAliveMs?: pulumi.Input<number>
  readonly cache?: pulumi.Input<'adaptive' | 'strict-cold'>
  /** Instances may be forks, which share a sandbox. */
  readonly fork?: pulumi.Input<boolean>
  /** Nodes that it runs on, by the name of their pool. */
  readonly pool?: pulumi.Input<string>
  /** What it may reach over the network, and what may reach it (`docs/network.md`). Default: nothing but its bindings. */
  readonly network?: Inputs<NetworkPolicy>
  /**
   * What it uses, by the name that it calls `http://NAME.internal` (`docs/bindings.md`). A `Function` stands for its alias. Credentials are
   * secrets in the state.
   */
  readonly bindings?: Readonly<Record<string, Function | Inputs<Binding>>>
}

/** A function. Every change of code or configuration publishes a version and moves the alias to it. */
export class Function extends pulumi.CustomResource {
  declare readonly name: pulumi.Output<string>
  declare readonly arn: pulumi.Output<string>
  /** That the alias points to. */
  declare readonly version: pulumi.Output<string>
  declare readonly alias: pulumi.Output<string>
  /** ARN with the alias. */
  declare readonly qualifiedArn: pulumi.Output<string>
  /** SHA-256 of the zip, base64. */
  declare readonly codeSha256: pulumi.Output<string>
  declare readonly runtime: pulumi.Output<string>
  declare readonly handler: pulumi.Output<string>

  constructor(name: string, args: FunctionArgs, options?: pulumi.CustomResourceOptions) {
    const computed = { arn: undefined, version: undefined, qualifiedArn: undefined, codeSha256: undefined }
    const given = { ...args, ...(args.bindings ? { bindings: bindingsOf(args.bindings) } : {}) }
    const inputs = { name: undefined, alias: undefined, runtime: undefined, handler: undefined, ...given }
    super('forkyard:index:Function', name, { ...inputs, ...computed }, options)
  }
}

const isFunction = (value: unknown): value is Function => pulumi.CustomResource.isInstance(value)

const bindingsOf = (bindings: NonNullable<FunctionArgs['bindings']>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(bindings).map(([name, to]) => [
      name,
      isFunction(to) ? { type: 'function', function: to.name, qualifier: to.alias } : to,
    ]),
  )

export interface AliasArgs {
  readonly functionName: Text
  readonly name: Text
  /** `$LATEST`, or a version's number. */
  readonly functionVersion: Text
  readonly description?: Text
  /** Share of requests (0 to 1) that go to other versions, by number. */
  readonly weights?: pulumi.Input<Record<string, pulumi.Input<number>>>
  /** One that is there already, set up otherwise, is changed to this. Default false: it is refused. */
  readonly adopt?: pulumi.Input<boolean>
}

/** A further name of a version, with weights to shift traffic. The one that a `Function` moves by itself needs none. */
export class Alias extends pulumi.CustomResource {
  declare readonly arn: pulumi.Output<string>
  declare readonly name: pulumi.Output<string>

  constructor(name: string, args: AliasArgs, options?: pulumi.CustomResourceOptions) {
    super('forkyard:index:Alias', name, { ...args, arn: undefined }, options)
  }
}

export interface FunctionUrlArgs {
  readonly functionName: Text
  /** An alias, or `$LATEST`. Default `live`. */
  readonly qualifier?: Text
  /** Default `AWS_IAM`: callers sign their requests. `NONE`: public. */
  readonly authType?: pulumi.Input<'AWS_IAM' | 'NONE'>
  /** `RESPONSE_STREAM`: bytes are sent as the function writes them. */
  readonly invokeMode?: pulumi.Input<'BUFFERED' | 'RESPONSE_STREAM'>
  readonly cors?: pulumi.Input<{
    readonly allowCredentials?: boolean
    readonly allowHeaders?: readonly string[]
    readonly allowMethods?: readonly string[]
    readonly allowOrigins?: readonly string[]
    readonly exposeHeaders?: readonly string[]
    /** Seconds. */
    readonly maxAge?: number
  }>
  /** One that is there already, set up otherwise, is changed to this. Default false: it is refused. */
  readonly adopt?: pulumi.Input<boolean>
}

/** Where a function is reached by plain HTTP. */
export class FunctionUrl extends pulumi.CustomResource {
  declare readonly url: pulumi.Output<string>

  constructor(name: string, args: FunctionUrlArgs, options?: pulumi.CustomResourceOptions) {
    super('forkyard:index:FunctionUrl', name, { ...args, url: undefined }, options)
  }
}

export interface EventQueueArgs {
  readonly functionName: Text
  /** An alias, a version, or `$LATEST`. Default `live`. */
  readonly qualifier?: Text
  /** After the first, 0 to 2. Default 2. */
  readonly maximumRetryAttempts?: pulumi.Input<number>
  /** How long an event may wait, 60 to 21600. Default 21600. */
  readonly maximumEventAgeSeconds?: pulumi.Input<number>
  /** One that is there already, set up otherwise, is changed to this. Default false: it is refused. */
  readonly adopt?: pulumi.Input<boolean>
}

/** How events of a function (asynchronous invocations) are retried, and for how long, before they are dead letters. */
export class EventQueue extends pulumi.CustomResource {
  constructor(name: string, args: EventQueueArgs, options?: pulumi.CustomResourceOptions) {
    super('forkyard:index:EventQueue', name, { ...args }, options)
  }
}
