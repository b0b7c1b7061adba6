/** Says to other nodes where this one is, and hears where they are: over NATS, so that nodes come and go without a change on any other. */
import type { NatsConnection } from '@nats-io/transport-node'
import { Compile } from 'typebox/compile'
import { subscribeLastingly } from '../../chassis/lasting-subscription.ts'
import { NodeHere, nodeHereEveryMs } from '../../contracts/code-images.ts'
import { isJoinedId } from '../../contracts/joining.ts'
import { subjects } from '../../contracts/subjects.ts'
import type { Peers } from './peers.ts'

const schema = Compile(NodeHere)

/** @returns says that this node leaves, and ends it */
export const announceNode = (
  connection: Pick<NatsConnection, 'publish' | 'subscribe' | 'isClosed'>,
  peers: Pick<Peers, 'heard' | 'size'>,
  own: Pick<NodeHere, 'nodeId' | 'url'>,
  onPeers: (known: number) => void,
): (() => void) => {
  const say = (leaving: boolean): void => {
    if (connection.isClosed()) return
    const here: NodeHere = { ...own, leaving }
    connection.publish(subjects.nodeHere(own.nodeId), JSON.stringify(here))
  }
  const end = subscribeLastingly(connection, subjects.allNodesHere, (message) => {
    const here = parse(message.string())
    // By its own name alone. One that joined has no token of this hop, and is to be shown none.
    if (here && !isJoinedId(here.nodeId) && message.subject === subjects.nodeHere(here.nodeId)) peers.heard(here)
    onPeers(peers.size)
  })
  say(false)
  const timer = setInterval(say, nodeHereEveryMs, false)
  return () => {
    clearInterval(timer)
    say(true)
    end()
  }
}

const parse = (text: string): NodeHere | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return schema.Check(value) ? value : undefined
  } catch {
    return undefined
  }
}
