import * as pulumi from '@pulumi/pulumi'
import type { Site } from '../site.ts'
import type { Credentials } from './credentials.ts'

export interface NodeCordonArgs {
  /** Name of the node's host. */
  readonly host: string
  readonly nodeId: string
  readonly credentials: Credentials
}

/** A node that gets nothing new for as long as this is there. Said through the API, so nothing of the node is restarted. */
export class NodeCordon extends pulumi.ComponentResource {
  /** @param workshop where the CLI is used too: it reaches the gateways */
  constructor(
    workshop: Site,
    { host, nodeId, credentials }: NodeCordonArgs,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    const name = `${host}-cordon`
    super('forkyard:index:NodeCordon', name, {}, options)
    const { publicUrl: endpoint, region } = workshop.config
    const { accessKeyId, secretAccessKey } = credentials
    const connection = { endpoint, region, accessKeyId, secretAccessKey }
    const input = { connection: pulumi.secret(connection), nodeId, reason: 'the configuration of the stack' }
    const command = { script: 'cordon', create: ['ensure'], delete: ['remove'], input } as const
    workshop.host.run(name, command, { parent: this, dependsOn: options.dependsOn ?? [] })
    this.registerOutputs({})
  }
}
