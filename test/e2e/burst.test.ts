/** Many requests at once for a function that nothing is kept for: as many instances as they need, and none of it left. */
import { describe, expect, it } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { metricOf, onEmptyNode } from './host.ts'
import { installation } from './installation.ts'
import { backTo, settledState } from './machine-state.ts'

const target = installation()
const client = lambdaClient(target)

const requests = 50
const source = `export const handler = async () => { await new Promise((r) => setTimeout(r, 50)); return process.env.AWS_LAMBDA_LOG_STREAM_NAME }`

const starts = (): Promise<number> => metricOf(target, 'node-agent', 'forkyard_node_start_milliseconds_count')

const burst = async (tags: Record<string, string>) => {
  const name = uniqueName('burst')
  await createFunction(client, name, source, { MemorySize: 128, Timeout: 60, Tags: tags })
  const [before, startsBefore] = [await settledState(target), await starts()]
  const answers = await Promise.all(Array.from({ length: requests }, () => invoke(client, name)))
  await backTo(target, before)
  for (const { functionError, startType, text } of answers) {
    expect(functionError, text).toBe(undefined)
    expect(['restore', 'warm']).toContain(startType)
  }
  return { instances: new Set(answers.map(({ json }) => json)).size, started: (await starts()) - startsBefore, answers }
}

describe('a burst of 50 requests for a cold function', () => {
  it('that reuses instances starts fewer than there are requests, each of which serves', () =>
    onEmptyNode(target, async () => {
      const { instances, started } = await burst({ 'forkyard:keep-alive-ms': '500' })
      expect(instances).toBeLessThan(requests)
      expect(started).toBeLessThanOrEqual(requests)
      // What was started when others had answered already is dropped, but for those that were on their way.
      expect(started - instances).toBeLessThanOrEqual(4)
    }))

  it('that does not reuse them restores 50, no more, and nothing of them is left', () =>
    onEmptyNode(target, async () => {
      const { instances, started, answers } = await burst({ 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' })
      expect([instances, started]).toEqual([requests, requests])
      expect(answers.map(({ startType }) => startType)).toEqual(answers.map(() => 'restore'))
    }))
})
