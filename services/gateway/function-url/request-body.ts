/** The body for the node: the prelude, then the request's own bytes, streamed where that is allowed. */
import type { IncomingMessage } from 'node:http'
import { HttpPrelude, preludeDelimiter } from '../../contracts/node.ts'
import { ReplayableBody, type BodyLimit } from '../invoke/replayable-body.ts'
import { declaredBytes } from '../routes/read-body.ts'

export interface UrlBody {
  readonly body: Buffer | ReplayableBody
  readonly bodyBytes?: number | undefined
}

/** @param whole the body, where it had to be read for the signature. @throws PlatformError REQUEST_TOO_LARGE */
export const bodyFor = (
  request: IncomingMessage,
  prelude: HttpPrelude,
  whole: Buffer | undefined,
  limit: BodyLimit,
): UrlBody => {
  const head = Buffer.concat([Buffer.from(JSON.stringify(prelude)), preludeDelimiter])
  if (whole) return { body: Buffer.concat([head, whole]) }
  const bytes = declaredBytes(request, limit)
  if (bytes === 0) return { body: head }
  const known = request.headers['transfer-encoding'] === undefined
  return { body: new ReplayableBody(head, request, limit), bodyBytes: known ? head.length + bytes : undefined }
}
