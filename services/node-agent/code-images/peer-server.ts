/**
 * Hop in from other nodes: code images that are here, by digest. On a port of its own, which nodes may reach: what starts and ends instances is on
 * another one, which they may not.
 */
import { Registry } from 'prom-client'
import { Type } from 'typebox'
import { buildServer, drainServer, requireBearer } from '../../chassis/http-server.ts'
import { serverTls, type ServiceTls } from '../../chassis/internal-tls.ts'
import type { Logger } from '../../chassis/log.ts'
import { codeImagePath, digestPattern } from '../../contracts/code-images.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { CodeImageMetrics } from './code-image-metrics.ts'
import type { CodeImages } from './code-images.ts'

/** At the same time. Whoever is one more asks another node, or the store. */
const maxSent = 8
/** For images that are being sent when the node drains; whoever does not get one asks elsewhere. */
const graceMs = 2_000

export interface PeerServerDeps {
  readonly images: Pick<CodeImages, 'read'>
  /** An image was asked for that is not here. */
  readonly onMissing: (digest: string) => void
  readonly metrics: Pick<CodeImageMetrics, 'sent'>
  readonly logger: Logger
  readonly tls: ServiceTls | undefined
}

export interface PeerServer {
  readonly url: string
  close(): Promise<void>
}

const Params = Type.Object({ digest: Type.String({ pattern: digestPattern }) })

export const startPeerServer = async (
  { listen, token }: NonNullable<NodeAgentConfig['peers']>,
  { images, onMissing, metrics, logger, tls }: PeerServerDeps,
): Promise<PeerServer> => {
  let sending = 0
  // The node's own metrics are not for other nodes.
  const own = { logger, metrics: new Registry(), notReady: () => undefined }
  const app = buildServer({ ...own, options: { ...serverTls(tls), exposeHeadRoutes: false } })
  requireBearer(app, token)
  const options = { schema: { params: Params } }
  app.get<{ Params: { digest: string } }>(codeImagePath(':digest'), options, async (request, reply) => {
    const { digest } = request.params
    if (sending >= maxSent) {
      metrics.sent.inc({ answer: 'busy' })
      throw new PlatformError('TOO_MANY_REQUESTS', 'as many images are sent as may be', { atOnce: maxSent })
    }
    sending++
    // Sent, or given up.
    reply.raw.once('close', () => sending--)
    const file = await images.read(digest)
    if (!file) {
      metrics.sent.inc({ answer: 'missing' })
      onMissing(digest)
      throw new PlatformError('NOT_FOUND', 'the image is not on this node', { digest })
    }
    metrics.sent.inc({ answer: 'sent' })
    return reply.type('application/octet-stream').header('content-length', file.bytes).send(file.stream)
  })
  const url = await app.listen(listen)
  return { url, close: () => drainServer(app, graceMs) }
}
