/** `node scripts/config-docs.ts` writes docs/configuration.md: every key of the stack's configuration, from its schema. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TSchema } from 'typebox'
import { ResourcePool } from '../services/contracts/resource-pool.ts'
import { StackConfig } from '../stacks/config.ts'
import { HostConfig } from '../stacks/host-config.ts'
import { KubernetesConfig } from '../stacks/kubernetes/config.ts'
import { repoRoot } from './setup/paths.ts'

export const configDocsFile = join(repoRoot, 'docs', 'configuration.md')

interface Rules {
  readonly type?: string
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly default?: unknown
  readonly description?: string
}

/** A pipe would end the table's cell. */
const cell = (text: string): string => text.replaceAll('|', String.raw`\|`).replaceAll('<', '&lt;')

const typeOf = ({ type, enum: values, minimum, maximum }: Rules): string => {
  if (values) return values.join(', ')
  const from = minimum === undefined ? '' : `, from ${minimum}`
  const to = maximum === undefined ? '' : `, to ${maximum}`
  return `${type ?? 'any'}${from}${to}`
}

const row = (name: string, schema: TSchema): string => {
  const rules = schema as Rules
  const preset = rules.default === undefined ? '' : `\`${JSON.stringify(rules.default)}\``
  return `| \`${name}\` | ${cell(typeOf(rules))} | ${preset} | ${cell(rules.description ?? '')} |`
}

const table = (properties: Readonly<Record<string, TSchema>>, prefix: string): string =>
  [
    '| key | value | default | meaning |',
    '| --- | --- | --- | --- |',
    ...Object.entries(properties).map(([name, schema]) => row(`${prefix}${name}`, schema)),
  ].join('\n')

export const configDocs = (): string => `# Stack configuration

Made by \`node scripts/config-docs.ts\` from the schemas in \`stacks/config.ts\`, \`stacks/host-config.ts\` and \`stacks/kubernetes/config.ts\`. Set a key with
\`pulumi config set forkyard:KEY VALUE\`, or in \`stacks/Pulumi.<stack>.yaml\`. A value that does not fit ends the run before anything is changed.

${table(StackConfig.properties, 'forkyard:')}

## A host

Items of \`forkyard:hosts\`.

${table(HostConfig.properties, '')}

## A pool of nodes

Items of \`forkyard:pools\`, in the order in which a function is assigned: to the first one that is for it. How they work: [decisions/0053](decisions/0053-resource-pools.md).

${table(ResourcePool.properties, '')}

## A cluster

Keys of the object \`forkyard:kubernetes\`.

${table(KubernetesConfig.properties, '')}
`

if (import.meta.main) writeFileSync(configDocsFile, configDocs())
