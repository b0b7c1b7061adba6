/** One function that calls another by name: through its node's network and proxy, over the gateways' own port for nodes. */
import { expect } from 'vitest'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type Connection } from '../../support/lambda.ts'

const callee = 'export const handler = async ({ rawPath }) => ({ statusCode: 201, body: `you asked for ${rawPath}` })'
const caller = `
export const handler = async () => {
  const reply = await fetch('http://other.internal/orders', { signal: AbortSignal.timeout(20_000) })
  return { status: reply.status, text: await reply.text() }
}`

export const expectFunctionCall = async (connection: Connection): Promise<void> => {
  const client = lambdaClient(connection)
  const [from, to] = [uniqueName('caller'), uniqueName('callee')]
  await createFunction(client, to, callee)
  await createFunction(client, from, caller)
  const bindings = { other: { type: 'function', function: to } }
  await signedFetch(connection, {
    method: 'PUT',
    path: `/forkyard/v1/functions/${from}/bindings`,
    body: { bindings },
  })
  const { json, text } = await invoke(client, from)
  expect(json, text).toEqual({ status: 201, text: 'you asked for /orders' })
}
