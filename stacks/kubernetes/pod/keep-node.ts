/**
 * Beside the agent, ends after it: when the agents are taken away for good, and not only this pod, it removes what the installation has on
 * the node. That a pod ends tells nothing of why; the cluster is asked.
 */
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { json } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { removeLeftovers } from '../../host-scripts/leftovers.ts'
import { agentSetName, podPaths } from './node-template.ts'

const say = (line: string): void => void process.stderr.write(`${line}\n`)

interface Answer {
  readonly status: number
  readonly body: { readonly metadata?: { readonly deletionTimestamp?: string } }
}

const mounted = (name: string): string => readFileSync(`${podPaths.token}/${name}`, 'utf8')

const askCluster = async (path: string): Promise<Answer> => {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const headers = { authorization: `Bearer ${mounted('token')}` }
  const call = request({ host, port, path, headers, ca: mounted('ca.crt'), timeout: 5000 }, (reply) => {
    json(reply).then((body) => resolve({ status: reply.statusCode ?? 0, body: body as Answer['body'] }), reject)
  })
  call.on('timeout', () => call.destroy(new Error('no answer in 5 s')))
  call.on('error', reject)
  call.end()
  return promise
}

/** Pure: whether there will be no other agent on this node. */
export const isTakenAway = ({ status, body }: Answer): boolean =>
  status === 404 || (status === 200 && body.metadata?.deletionTimestamp !== undefined)

const takenAway = async (): Promise<boolean> => {
  const path = `/apis/apps/v1/namespaces/${process.env['NAMESPACE']}/daemonsets/${agentSetName}`
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const answer = await askCluster(path)
      say(`the cluster answers ${answer.status}${answer.body.metadata?.deletionTimestamp ? ', being deleted' : ''}`)
      return isTakenAway(answer)
    } catch (error) {
      say(`the cluster does not answer: ${(error as Error).message}`)
      await delay(1000)
    }
  }
  // Too much kept can be removed; what is lost is lost.
  return false
}

export const keepNode = async (): Promise<void> => {
  const { INSTALLATION: installation = '', STATE_DIR: stateDir = '', RUN_DIR: runDir = '' } = process.env
  const { promise, resolve } = Promise.withResolvers<void>()
  const awake = setInterval(() => undefined, 2 ** 30)
  process.once('SIGTERM', resolve)
  await promise
  clearInterval(awake)
  if (!(await takenAway())) return
  await removeLeftovers({ installation, stateDir, runDir })
  say(`removed ${stateDir}`)
}
