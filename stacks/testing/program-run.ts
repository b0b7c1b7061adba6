/** Runs a program without an engine: what it registers is noted, nothing is run. For unit tests. */
import * as pulumi from '@pulumi/pulumi'
import type { CertificateInputs } from '../components/issue-certificates.ts'

export interface Registered {
  readonly type: string
  readonly name: string
  readonly inputs: Readonly<Record<string, unknown>>
}

/** By name and type. */
export type Seen = ReadonlyMap<string, Registered>

/** In every value that stands for a secret. */
export const secretMark = '0123456789abcdef01'

const secretNames = [
  'gateway-scheduler',
  'gateway-node',
  'node-gateway',
  'node-node',
  'scheduler-node',
  'accessKeyId',
  'secretAccessKey',
  'password',
  'issuer',
].concat(
  ['gateway', 'scheduler', 'node-agent'].map((user) => `nats-${user}`),
  ['sign-1', 'sign-2', 'access-1', 'access-2', 'environment-1', 'environment-2'],
)
/** Seeds of keys have to be some. */
const secretOf = (name: string): string =>
  name.startsWith('sign-') || name === 'issuer'
    ? secretMark.padEnd(64, '0')
    : `${name}-${secretMark}23456789abcdef0123456789abcdef`

/** As the stack's authority would; the certificates are none. */
const issue = ({ subjects }: CertificateInputs) => ({
  authority: { cert: 'authority', key: secretOf('authority') },
  certificates: Object.fromEntries(
    Object.keys(subjects).map((name) => [name, { cert: `of ${name}`, key: secretOf(name), altNames: '', notAfter: 0 }]),
  ),
})

/** @param results what commands print, by the last word of their names */
export const runMocked = async (
  results: Readonly<Record<string, object>>,
  program: () => void,
  preview = false,
): Promise<Seen> => {
  const seen: Registered[] = []
  const values = Object.fromEntries(secretNames.map((name) => [name, secretOf(name)]))
  await pulumi.runtime.setMocks(
    {
      call: () => ({}),
      newResource: ({ type, name, inputs }) => {
        seen.push({ type, name, inputs: inputs as Registered['inputs'] })
        const stdout = JSON.stringify(results[name.split('-').at(-1) ?? ''] ?? {})
        const issued = 'subjects' in inputs ? issue(inputs as CertificateInputs) : undefined
        return { id: name, state: { ...inputs, stdout, values, issued } }
      },
    },
    'forkyard',
    'local',
    preview,
  )
  program()
  await pulumi.runtime.disconnect()
  return new Map(seen.map((entry) => [`${entry.name}|${entry.type}`, entry]))
}

const commandType = 'command:local:Command'

export const commandsOf = (seen: Seen): Registered[] => [...seen.values()].filter(({ type }) => type === commandType)

export const commandOf = (seen: Seen, name: string): Registered | undefined => seen.get(`${name}|${commandType}`)

/** Names of the commands that would run: what is new, or has other inputs. */
export const changedCommands = (before: Seen, after: Seen): string[] =>
  commandsOf(after)
    .filter(({ name, inputs }) => JSON.stringify(commandOf(before, name)?.inputs) !== JSON.stringify(inputs))
    .map(({ name }) => name)
    .toSorted()
