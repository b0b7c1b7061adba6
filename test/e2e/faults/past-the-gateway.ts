/** A request straight to a node, as its gateway would send it: what gateways and schedulers add, or hold off, is not there. */
import { request } from 'undici'
import { uniqueName } from '../../support/lambda.ts'
import { configOf, serviceRequest } from '../host.ts'
import type { Member } from './fleet.ts'

export interface InstanceState {
  readonly state: string
  readonly inFlight: number
  readonly revision: { readonly name: string }
}

export const instancesOn = async ({ premises }: Member): Promise<InstanceState[]> =>
  (await (await serviceRequest(premises, 'node-agent', '/v1/instances')).json()) as InstanceState[]

export interface Direct {
  readonly status: number
  readonly tookMs: number
  /** `performance.now()` of the whole answer. */
  readonly at: number
}

export type Ask = (event: object) => Promise<Direct>

/** @throws Error when the node has no instance of the function */
export const pathTo = async (node: Member, name: string): Promise<Ask> => {
  const { listen, internalToken } = configOf(node.premises, 'node-agent')
  const [instance] = (await instancesOn(node)).filter(({ revision }) => revision.name === name)
  if (!instance) throw new Error(`no instance of ${name}`)
  return async (event) => {
    const from = performance.now()
    const reply = await request(`http://${listen.host}:${listen.port}/v1/invocations/${uniqueName('past')}`, {
      method: 'POST',
      body: JSON.stringify(event),
      headers: {
        authorization: `Bearer ${internalToken}`,
        'content-type': 'application/octet-stream',
        'forkyard-revision': JSON.stringify(instance.revision),
        'forkyard-deadline-at': String(Date.now() + 90_000),
        'forkyard-timeout-ms': '60000',
        'forkyard-kind': 'event',
        'forkyard-response-mode': 'buffered',
        'forkyard-function-arn': 'arn:aws:lambda:us-east-1:000000000000:function:f',
      },
      headersTimeout: 0,
    })
    await reply.body.dump()
    const at = performance.now()
    return { status: reply.statusCode, tookMs: at - from, at }
  }
}

/** @throws Error when the node has no instance of the function */
export const askNode = async (node: Member, name: string, event: object): Promise<Direct> =>
  (await pathTo(node, name))(event)
