/**
 * The answering side of `npm run bench -- protocols`, as a process of its own: the same placement answered over each protocol. Tells its ports
 * on its parent's channel, and its CPU time when it is asked.
 */
import { createServer as createHttp2, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { connect } from '@nats-io/transport-node'
import { Compile } from 'typebox/compile'
import { buildServer, createMetrics, requireBearer } from '../../../services/chassis/http-server.ts'
import { acceptLinks } from '../../../services/chassis/link/accept.ts'
import { createLogger } from '../../../services/chassis/log.ts'
import { placementLink } from '../../../services/contracts/links.ts'
import { Placement, PlacementRequest } from '../../../services/contracts/placement.ts'
import { ClaimBook } from '../../../services/scheduler/claim-book.ts'
import { placementSession } from '../../../services/scheduler/routes/placement-link.ts'
import type { ServerSettings } from './settings.ts'

const { token, nats } = JSON.parse(process.argv[2] ?? '') as ServerSettings
const loopback = { host: '127.0.0.1', port: 0 }
const schema = Compile(PlacementRequest)

const nothing = (): void => undefined

const answer = ({ invocationId }: PlacementRequest): Placement => ({
  invocationId,
  nodeId: 'node-1',
  nodeUrl: 'http://10.0.0.1:9002',
  decision: 'idle',
  reason: '1 idle slots on node-1',
})
const answerText = (request: string): string => {
  const value: unknown = JSON.parse(request)
  return schema.Check(value) ? JSON.stringify(answer(value)) : ''
}

const http1 = buildServer({
  logger: createLogger('server', 'error'),
  metrics: createMetrics(),
  notReady: () => undefined,
})
requireBearer(http1, token)
http1.post<{ Body: PlacementRequest; Reply: Placement }>(
  '/v1/placements',
  { schema: { body: PlacementRequest, response: { 200: Placement } } },
  async (request) => answer(request.body),
)
const claims = new ClaimBook(nothing)
acceptLinks(http1, {
  path: placementLink,
  token,
  open: () =>
    placementSession({ place: answer, over: nothing, requireLead: () => 1 }, nothing, { observe: nothing }, claims),
})
const http1Url = await http1.listen(loopback)

const http2 = createHttp2()
const answerStream = async (stream: ServerHttp2Stream): Promise<void> => {
  const body = await text(stream)
  stream.respond({ ':status': 200, 'content-type': 'application/json' })
  stream.end(answerText(body))
}
http2.on('stream', (stream) => void answerStream(stream))
await new Promise<void>((resolve) => http2.listen(0, '127.0.0.1', resolve))

const connection = await connect({ servers: nats.url, user: nats.user, pass: nats.password })
connection.subscribe('place', { callback: (_error, message) => void message.respond(answerText(message.string())) })
await connection.flush()

process.on('message', (message) => {
  if (message === 'cpu') process.send?.(process.cpuUsage())
})
process.on('disconnect', () => process.exit(0))
process.send?.({ http1: http1Url, http2: `http://127.0.0.1:${(http2.address() as AddressInfo).port}` })
