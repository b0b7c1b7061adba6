/** The one place where an error becomes a reply of the Lambda API (restJson1). */
import { errors as natsErrors } from '@nats-io/transport-node'
import { JetStreamApiError } from '@nats-io/jetstream'
import { toPlatformError } from '../chassis/http-server.ts'
import { PlatformError } from '../contracts/errors.ts'

export interface AwsReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>>
}

/** SDKs take the exception's name from the header, the message from `Message` or `message`. */
export const toAwsReply = (error: PlatformError, requestId: string): AwsReply => {
  const { status, awsType, fault } = error.entry
  return {
    status,
    headers: {
      'x-amzn-errortype': awsType,
      'x-amzn-requestid': requestId,
      'x-forkyard-error': error.code,
      'content-type': 'application/json',
    },
    body: {
      Type: fault === 'caller' ? 'User' : 'Server',
      __type: awsType,
      Message: error.message,
      message: error.message,
      ...(error.details ? { Details: error.details } : {}),
    },
  }
}

/** As `toPlatformError`, and knows what an absent or full NATS looks like. */
export const toGatewayError = (error: unknown): PlatformError => {
  if (error instanceof PlatformError) return error
  if (error instanceof JetStreamApiError && storageFull.has(error.code))
    return new PlatformError('STORAGE_FULL', 'the store has no room left', undefined, { cause: error })
  if (isStoreAway(error))
    return new PlatformError('UNAVAILABLE', 'the store does not answer', undefined, { cause: error })
  return toPlatformError(error)
}

/** Insufficient resources, storage resources exceeded, no message space (JetStream `err_code`s). */
const storageFull = new Set([10023, 10047, 10077])

const isStoreAway = (error: unknown): boolean =>
  error instanceof natsErrors.TimeoutError ||
  error instanceof natsErrors.NoRespondersError ||
  error instanceof natsErrors.ConnectionError ||
  error instanceof natsErrors.ClosedConnectionError ||
  error instanceof natsErrors.DrainingConnectionError ||
  error instanceof natsErrors.RequestError ||
  (error instanceof JetStreamApiError && error.code === 10008)
