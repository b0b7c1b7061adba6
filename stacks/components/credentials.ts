import * as pulumi from '@pulumi/pulumi'
import { natsRoles, type NatsRole } from '../../services/contracts/nats-permissions.ts'
import type { SealingKeys } from '../../services/chassis/sealing.ts'
import { publicKeyOf, type SigningKeys, type VerifyingKeys } from '../../services/chassis/signing.ts'
import type { StackConfig } from '../config.ts'

export type NatsUser = NatsRole

type Secrets = Readonly<Record<string, string>>

/** Each made once and never again, also when others are added; kept in the stack's state, encrypted. */
class RandomSecrets extends pulumi.dynamic.Resource {
  declare readonly values: pulumi.Output<Secrets>

  constructor(name: string, keys: readonly string[], options: pulumi.CustomResourceOptions) {
    // The engine stores this object's source text and runs it in another process: nothing from around it may be used inside.
    const provider: pulumi.dynamic.ResourceProvider<{ keys: string[] }, { keys: string[]; values: Secrets }> = {
      create: async (inputs) => {
        const { randomBytes } = process.getBuiltinModule('node:crypto')
        const values = Object.fromEntries(inputs.keys.map((key) => [key, randomBytes(32).toString('hex')]))
        return { id: 'credentials', outs: { keys: inputs.keys, values } }
      },
      update: async (_id, before, inputs) => {
        const { randomBytes } = process.getBuiltinModule('node:crypto')
        if (!inputs.keys.some((key) => before.values[key] !== undefined))
          throw new Error(`none of ${before.keys.join(', ')} would be left: a generation goes up by one at a time`)
        const values = Object.fromEntries(
          inputs.keys.map((key) => [key, before.values[key] ?? randomBytes(32).toString('hex')]),
        )
        return { outs: { keys: inputs.keys, values } }
      },
    }
    super(provider, name, { keys: [...keys], values: undefined }, { ...options, additionalSecretOutputs: ['values'] })
  }
}

const hopNames = ['gateway-scheduler', 'gateway-node', 'scheduler-node', 'node-gateway', 'node-node'] as const
type Hop = (typeof hopNames)[number]

const sealedKinds = ['access', 'environment'] as const
type SealedKind = (typeof sealedKinds)[number]

/**
 * The first seals and signs. The one before opens what gateways have not sealed anew yet; the one after is known ahead, because a node may
 * have to open what a gateway sealed while the same `up` had not come to it.
 */
const generationsAround = (generation: number): number[] =>
  [generation, generation - 1, generation + 1].filter((number) => number > 0)

const sealingKeys = (
  name: string,
  generation: number,
  options: pulumi.CustomResourceOptions,
): pulumi.Output<Record<SealedKind, SealingKeys>> => {
  const generations = generationsAround(generation)
  const keyOf = (kind: SealedKind, number: number) => `${kind}-${number}`
  const keys = sealedKinds.flatMap((kind) => generations.map((number) => keyOf(kind, number)))
  const { values } = new RandomSecrets(name, keys, options)
  const of = (all: Secrets, kind: SealedKind): SealingKeys =>
    generations.map((number) => ({ id: keyOf(kind, number), key: pick(all, keyOf(kind, number)) }))
  return values.apply((all) => ({ access: of(all, 'access'), environment: of(all, 'environment') }))
}

const seedName = (generation: number): string => `sign-${generation}`

/** Every secret of the installation. All outputs are secret. */
export class Credentials extends pulumi.ComponentResource {
  /** Bearer tokens of the hops between services, by who calls whom. */
  readonly hops: Readonly<Record<Hop, pulumi.Output<string>>>
  readonly accessKeyId: pulumi.Output<string>
  readonly secretAccessKey: pulumi.Output<string>
  readonly natsPasswords: Readonly<Record<NatsUser, pulumi.Output<string>>>
  /** What secrets are sealed with in the store: those of access keys, by gateways alone; variables of functions. */
  readonly sealing: pulumi.Output<Record<SealedKind, SealingKeys>>

  /** What gateways sign the registry's entries with, and what nodes know their signatures by. */
  readonly signing: pulumi.Output<SigningKeys>
  readonly verifying: pulumi.Output<VerifyingKeys>

  /** 32 bytes, hex: what servers of NATS know joined nodes by (`services/chassis/nats-issuer.ts`). Undefined: no machine joins. */
  readonly issuerSeed: pulumi.Output<string> | undefined

  constructor(
    name: string,
    { sealingGeneration, protectData, joinFrom }: Pick<StackConfig, 'sealingGeneration' | 'protectData' | 'joinFrom'>,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super('forkyard:index:Credentials', name, {}, options)
    const keys = ['accessKeyId', 'secretAccessKey', ...natsRoles.map((user) => `nats-${user}`)]
    const { values } = new RandomSecrets(`${name}-random`, keys, { parent: this })
    const value = (key: string) => values.apply((all) => pick(all, key))
    const { values: hops } = new RandomSecrets(`${name}-hops`, hopNames, { parent: this })
    this.hops = Object.fromEntries(hopNames.map((hop) => [hop, hops.apply((all) => pick(all, hop))])) as Record<
      Hop,
      pulumi.Output<string>
    >
    // Shaped like the keys that clients know: 20 characters, upper case.
    this.accessKeyId = value('accessKeyId').apply((hex) => `FYIA${hex.slice(0, 16).toUpperCase()}`)
    this.secretAccessKey = value('secretAccessKey').apply((hex) => hex.slice(0, 40))
    this.natsPasswords = {
      gateway: value('nats-gateway'),
      scheduler: value('nats-scheduler'),
      'node-agent': value('nats-node-agent'),
    }
    // Data is of no use without the keys that it is sealed and signed with.
    const kept = { parent: this, protect: protectData }
    this.sealing = sealingKeys(`${name}-sealing`, sealingGeneration, kept)
    const generations = generationsAround(sealingGeneration)
    const { values: seeds } = new RandomSecrets(`${name}-signing`, generations.map(seedName), kept)
    this.signing = seeds.apply((all) => generations.map((of) => ({ id: seedName(of), seed: pick(all, seedName(of)) })))
    this.verifying = this.signing.apply((keys) => keys.map(({ id, seed }) => ({ id, key: publicKeyOf(seed) })))
    this.issuerSeed =
      joinFrom.length === 0
        ? undefined
        : new RandomSecrets(`${name}-joining`, ['issuer'], { parent: this }).values.apply((all) => pick(all, 'issuer'))
    this.registerOutputs({ accessKeyId: this.accessKeyId })
  }
}

/** What the servers of NATS prove themselves to each other with, beside their certificates. Secret. */
export class ClusterSecret extends pulumi.ComponentResource {
  readonly password: pulumi.Output<string>

  constructor(name: string, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:ClusterSecret', name, {}, options)
    const { values } = new RandomSecrets(`${name}-random`, ['password'], { parent: this })
    this.password = values.apply((all) => pick(all, 'password'))
    this.registerOutputs({})
  }
}

const pick = (all: Secrets, key: string): string => {
  const value = all[key]
  if (value === undefined) throw new Error(`the stack's credentials hold no ${key}; it was made by another version`)
  return value
}
