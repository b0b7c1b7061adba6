/** What `cordoned` of a host does in an `up`, on the scratch installation's own node. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, expect, it, vi } from 'vitest'
import { repoRoot } from '../../scripts/setup/paths.ts'
import type { NodeView } from '../../services/scheduler/routes/nodes.ts'
import { configOf, serviceRequest } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const { nodeId } = configOf(target, 'node-agent')
const { endpoint, region, accessKeyId, secretAccessKey } = target
const connection = { endpoint, region, accessKeyId, secretAccessKey }

const script = async (verb: string, input: object): Promise<{ code: number; stderr: string }> => {
  const child = spawn(process.execPath, [join(repoRoot, 'stacks/host-scripts/cordon.ts'), verb], {
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  child.stdin.end(JSON.stringify(input))
  const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)))
  return { stderr: await text(child.stderr), code: await ended }
}
const cordon = async () => {
  const reply = await serviceRequest(target, 'scheduler', '/v1/nodes')
  return ((await reply.json()) as { nodes: NodeView[] }).nodes.find((node) => node.nodeId === nodeId)?.cordon
}

afterAll(() => script('remove', { connection, nodeId, reason: 'over' }))

it('a node is cordoned with the reason, twice as once, and uncordoned', async () => {
  for (let each = 0; each < 2; each++)
    expect(await script('ensure', { connection, nodeId, reason: 'on purpose' })).toMatchObject({ code: 0 })
  await vi.waitFor(async () => expect(await cordon()).toMatchObject({ by: 'operator', reason: 'on purpose' }))
  expect(await script('remove', { connection, nodeId, reason: 'on purpose' })).toMatchObject({ code: 0, stderr: '' })
  await vi.waitFor(async () => expect(await cordon()).toBeUndefined())
})

it('one that is gone, or whose gateway is, holds nothing up when it goes', async () => {
  expect(await script('remove', { connection, nodeId: 'nobody', reason: 'x' })).toMatchObject({ code: 0 })
  const gone = { ...connection, endpoint: 'http://127.0.0.1:1' }
  const { code, stderr } = await script('remove', { connection: gone, nodeId, reason: 'x' })
  expect([code, stderr]).toEqual([0, expect.stringContaining('may still be cordoned')])
})
