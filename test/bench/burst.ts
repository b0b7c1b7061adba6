/**
 * `npm run bench -- burst`: so many requests at once for a function that nothing is kept for. How far the last answer is from the
 * middle one, how many instances were started for them, and whether anything is left afterwards.
 */
import { DeleteFunctionCommand } from '@aws-sdk/client-lambda'
import { leftoversOf } from '../e2e/host.ts'
import { createFunction } from '../support/lambda.ts'
import { withInstallation } from './installation.ts'
import { describeMachine, type Machine } from './machine.ts'
import { percentile } from './statistics.ts'

export interface BurstRow {
  readonly requests: number
  readonly instances: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** p99 / p50 */
  readonly spread: number
  readonly leftovers: number
}

export interface BurstResult {
  readonly machine: Machine
  readonly rows: BurstRow[]
}

/** Each answer names its instance, and takes long enough that no instance serves two requests of a burst for lack of others. */
const source = `exports.handler = async () => {
  await new Promise((resolve) => setTimeout(resolve, 50))
  return process.env.AWS_LAMBDA_LOG_STREAM_NAME
}`

const nothingAhead = { precreatedSandboxes: '0', parkedRestores: '0' }

export const benchBurst = (rounds: number, requests: number, progress: (line: string) => void): Promise<BurstResult> =>
  withInstallation(nothingAhead, progress, async ({ client, signed, agent, premises }) => {
    const rows: BurstRow[] = []
    for (let round = 0; round < rounds; round++) {
      const name = `burst-${Date.now().toString(36)}`
      await createFunction(client, name, { 'index.js': source }, { MemorySize: 128, Timeout: 60 })
      const answers = await Promise.all(Array.from({ length: requests }, () => signed.invoke(name, {})))
      const took = answers.map(({ tookMs }) => tookMs)
      await client.send(new DeleteFunctionCommand({ FunctionName: name }))
      const [p50, p99] = [percentile(took, 0.5), percentile(took, 0.99)]
      rows.push({
        requests,
        instances: new Set(answers.map(({ text }) => text)).size,
        p50Ms: Math.round(p50),
        p99Ms: Math.round(p99),
        spread: Number((p99 / p50).toFixed(2)),
        leftovers: (await leftoversOf(premises)).length,
      })
      progress(`round ${round + 1} of ${rounds}`)
    }
    return { machine: describeMachine(agent), rows }
  })
