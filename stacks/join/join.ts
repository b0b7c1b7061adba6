/** Makes this machine a node, by a token; run again, it finishes what was begun. */
import { totalmem } from 'node:os'
import { Value } from 'typebox/value'
import { writeWhole } from '../../services/chassis/write-whole.ts'
import { joinPath, JoinToken, joinTokenContent } from '../../services/contracts/joining.ts'
import { askGateway } from '../../services/node-agent/joining/ask-gateway.ts'
import { makeCertificate } from '../../services/node-agent/joining/certificate.ts'
import { shareOfMemory, urlHost } from '../config.ts'
import type { Say } from '../node-machine.ts'
import { authorityOf } from './authority.ts'
import { installNode, readReceived, type Received } from './install.ts'
import { paths, prepare } from './machine.ts'
import { openBundle } from './node-bundle.ts'

export interface JoinWish {
  readonly name: string
  /** IP address at which gateways and schedulers reach the node. */
  readonly address: string
  readonly port: number
  readonly memoryMiB?: number | undefined
  readonly instances: number
  /** Only asked for when there is none yet. */
  readonly token: () => string
}

const readToken = (text: string): JoinToken => {
  const content = joinTokenContent(text.trim())
  if (!Value.Check(JoinToken, content)) throw new Error('this is no token of `forkyard node token`')
  return content
}

/** Each gateway in turn. @throws PlatformError what the last one said */
const ask = async (wish: JoinWish, say: Say): Promise<Received> => {
  const token = readToken(wish.token())
  const { name, address: host, port } = wish
  const secure = token.authority !== undefined
  const pair = secure ? await makeCertificate(name, host) : undefined
  const url = `${secure ? 'https' : 'http'}://${urlHost(host)}:${port}`
  const { tokenId, secret } = token
  const body = { tokenId, secret, name, url, ...(pair ? { certificate: pair.cert } : {}) }
  let problem: unknown
  for (const gateway of token.urls)
    try {
      const ca = token.authority === undefined ? undefined : await authorityOf(gateway, token.authority)
      const said = await askGateway(gateway, ca, { path: joinPath, body })
      return { said, listen: { host, port }, ...(ca !== undefined && pair ? { tls: { ca, ...pair } } : {}) }
    } catch (error) {
      problem = error
      say(`${gateway}: ${(error as Error).message}`)
    }
  throw problem
}

/** @param bundle directory @returns id of the node */
export const joinInstallation = async (bundle: string, wish: JoinWish, say: Say): Promise<string> => {
  const manifest = await openBundle(bundle)
  prepare()
  let received = readReceived()
  if (received) say(`this machine has joined as ${received.said.nodeId} already: going on with that`)
  else {
    received = await ask(wish, say)
    // The token is used: half of it would be a join that nobody can go on with.
    writeWhole(paths.received, JSON.stringify(received), true)
    say(`joined as ${received.said.nodeId}`)
  }
  const memoryMiB = wish.memoryMiB ?? shareOfMemory(Math.floor(totalmem() / 1024 ** 2))
  const capacity = { memoryMiB, instances: wish.instances }
  return installNode({ bundle, manifest, received, capacity }, say)
}
