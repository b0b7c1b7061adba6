/** Hop in from other nodes: code images that are here, by digest. */
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { codeImagePath, digestPattern } from '../../contracts/code-images.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { CodeImageMetrics } from '../code-images/code-image-metrics.ts'
import type { CodeImages } from '../code-images/code-images.ts'

/** For nodes alone; see `requireBearer`. */
export const codeImageRoute = codeImagePath(':digest')

/** At the same time. Whoever is one more asks another node, or the store. */
const maxSent = 8

export interface CodeImageRouteDeps {
  readonly images: Pick<CodeImages, 'read'>
  /** An image was asked for that is not here. */
  readonly onMissing: (digest: string) => void
  readonly metrics: Pick<CodeImageMetrics, 'sent'>
}

const Params = Type.Object({ digest: Type.String({ pattern: digestPattern }) })

export const registerCodeImageRoute = (
  app: FastifyInstance,
  { images, onMissing, metrics }: CodeImageRouteDeps,
): void => {
  let sending = 0
  app.get<{ Params: { digest: string } }>(codeImageRoute, { schema: { params: Params } }, async (request, reply) => {
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
    const { bytes, stream } = file
    return reply.type('application/octet-stream').header('content-length', bytes).send(stream)
  })
}
