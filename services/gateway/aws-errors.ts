/** The one place where an error becomes a reply of the Lambda API (restJson1). */
import { errors as natsErrors } from '@nats-io/transport-node'
import { JetStreamApiError } from '@nats-io/jetstream'
import { toPlatformError, type ErrorReply } from '../chassis/http-server.ts'
import { PlatformError } from '../contracts/errors.ts'

/** SDKs take the exception's name from the header, the message from `Message` or `message`. */
export const toAwsReply = (thrown: unknown, requestId: string): ErrorReply => {
  const error = toGatewayError(thrown)
  const { status, awsType, fault, retryable } = error.entry
  return {
    error,
    status,
    headers: {
      'x-amzn-errortype': awsType,
      'x-amzn-requestid': requestId,
      'x-forkyard-error': error.code,
      'content-type': 'application/json',
      ...(retryable && status !== 409 ? { 'retry-after': '1' } : {}),
    },
    body: {
      Type: fault === 'caller' ? 'User' : 'Server',
      __type: awsType,
      Message: error.message,
      message: error.message,
      ...throttleReason(error),
      ...(error.details ? { Details: error.details } : {}),
    },
  }
}

/** By Lambda's name for it: what is reserved for the function, or what all together may have in hand. */
const throttleReason = ({ code, details }: PlatformError): { readonly Reason?: string } => {
  if (code !== 'TOO_MANY_REQUESTS') return {}
  return {
    Reason:
      details?.limit === 'reservedConcurrency'
        ? 'ReservedFunctionConcurrentInvocationLimitExceeded'
        : 'ConcurrentInvocationLimitExceeded',
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
