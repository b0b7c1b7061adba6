/** What `./scripts/up` says at its end. */
import type { Changes } from './engine-output.ts'
import type { Greeting } from './hello.ts'

export const describeChanges = (changes: Changes): string => {
  const real = Object.entries(changes).filter(([kind]) => kind !== 'unchanged')
  return real.length === 0 ? 'no changes' : real.map(([kind, count]) => `${count} ${kind}`).join(', ')
}

export const describeUp = (endpoint: string, { answer, waterfall }: Greeting, tookMs: number): string => `
${answer}

${waterfall}

Forkyard is up after ${(tookMs / 1000).toFixed(1)} s: ${endpoint}
  eval "$(npx forkyard env)"   endpoint and keys for the AWS CLI and SDKs
  npx forkyard --help          deploy, invoke, logs, ...
  ./scripts/up --destroy       removes everything
`
