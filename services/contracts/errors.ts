/**
 * The one table of what can go wrong: HTTP status, whether the same call may succeed later, whose fault it is.
 * `awsType` is the exception name that Lambda clients know (the `__type` / `x-amzn-ErrorType` of the reply).
 * `docs/errors.md` lists the same codes; a test compares the two.
 */
export const errorTable = {
  INVALID_REQUEST: { status: 400, retryable: false, fault: 'caller', awsType: 'InvalidParameterValueException' },
  INVALID_REQUEST_CONTENT: {
    status: 400,
    retryable: false,
    fault: 'caller',
    awsType: 'InvalidRequestContentException',
  },
  INVALID_ARCHIVE: { status: 400, retryable: false, fault: 'caller', awsType: 'InvalidParameterValueException' },
  UNKNOWN_RUNTIME: { status: 400, retryable: false, fault: 'caller', awsType: 'InvalidParameterValueException' },
  CODE_TOO_LARGE: { status: 400, retryable: false, fault: 'caller', awsType: 'CodeStorageExceededException' },
  MISSING_AUTHENTICATION: {
    status: 403,
    retryable: false,
    fault: 'caller',
    awsType: 'MissingAuthenticationTokenException',
  },
  UNKNOWN_ACCESS_KEY: { status: 403, retryable: false, fault: 'caller', awsType: 'UnrecognizedClientException' },
  EXPIRED_ACCESS_KEY: { status: 403, retryable: false, fault: 'caller', awsType: 'ExpiredTokenException' },
  BAD_SIGNATURE: { status: 403, retryable: false, fault: 'caller', awsType: 'InvalidSignatureException' },
  FORBIDDEN: { status: 403, retryable: false, fault: 'caller', awsType: 'AccessDeniedException' },
  NOT_FOUND: { status: 404, retryable: false, fault: 'caller', awsType: 'ResourceNotFoundException' },
  NO_PROVISIONED_CONCURRENCY: {
    status: 404,
    retryable: false,
    fault: 'caller',
    awsType: 'ProvisionedConcurrencyConfigNotFoundException',
  },
  UNKNOWN_OPERATION: { status: 404, retryable: false, fault: 'caller', awsType: 'UnknownOperationException' },
  ALREADY_EXISTS: { status: 409, retryable: false, fault: 'caller', awsType: 'ResourceConflictException' },
  REVISION_MISMATCH: { status: 412, retryable: false, fault: 'caller', awsType: 'PreconditionFailedException' },
  RECURSIVE_INVOCATION: {
    status: 400,
    retryable: false,
    fault: 'caller',
    awsType: 'RecursiveInvocationException',
  },
  POLICY_TOO_LARGE: { status: 400, retryable: false, fault: 'caller', awsType: 'PolicyLengthExceededException' },
  NO_INSTANCE: { status: 409, retryable: true, fault: 'platform', awsType: 'ResourceNotReadyException' },
  REQUEST_TOO_LARGE: { status: 413, retryable: false, fault: 'caller', awsType: 'RequestTooLargeException' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, retryable: false, fault: 'caller', awsType: 'UnsupportedMediaTypeException' },
  RESPONSE_TOO_LARGE: { status: 413, retryable: false, fault: 'function', awsType: 'RequestTooLargeException' },
  TOO_MANY_REQUESTS: { status: 429, retryable: true, fault: 'caller', awsType: 'TooManyRequestsException' },
  START_FAILED: { status: 502, retryable: true, fault: 'function', awsType: 'InvalidRuntimeException' },
  CODE_CORRUPT: { status: 502, retryable: false, fault: 'platform', awsType: 'InvalidZipFileException' },
  INSTANCE_LOST: { status: 502, retryable: false, fault: 'platform', awsType: 'ServiceException' },
  NO_CAPACITY: { status: 503, retryable: true, fault: 'platform', awsType: 'EC2ThrottledException' },
  UNAVAILABLE: { status: 503, retryable: true, fault: 'platform', awsType: 'ServiceException' },
  NOT_LEADER: { status: 503, retryable: true, fault: 'platform', awsType: 'ServiceException' },
  STALE_TERM: { status: 503, retryable: true, fault: 'platform', awsType: 'ServiceException' },
  UNSUPPORTED_PROTOCOL: { status: 503, retryable: true, fault: 'platform', awsType: 'ServiceException' },
  DEADLINE_EXCEEDED: { status: 504, retryable: false, fault: 'platform', awsType: 'ServiceException' },
  STORAGE_FULL: { status: 507, retryable: true, fault: 'platform', awsType: 'ServiceException' },
  INTERNAL: { status: 500, retryable: false, fault: 'platform', awsType: 'ServiceException' },
} as const satisfies Record<string, ErrorEntry>

export interface ErrorEntry {
  readonly status: number
  /** The same request may succeed later, and the failed one never reached a handler. */
  readonly retryable: boolean
  readonly fault: 'caller' | 'function' | 'platform'
  readonly awsType: string
}

export type ErrorCode = keyof typeof errorTable

/** How a `PlatformError` looks on the wire between services (`application/json`, status from the table). */
export interface ErrorBody {
  readonly code: ErrorCode
  readonly message: string
  /** What names the cause: the limit and its value, the key, the signal. Never secrets, never stack traces. */
  readonly details?: Readonly<Record<string, unknown>>
}

export class PlatformError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>> | undefined

  constructor(code: ErrorCode, message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    // Refusals come by the thousand exactly when there is no time for them, and where one was made says nothing: its stack costs most of it.
    const { stackTraceLimit } = Error
    if (errorTable[code].retryable) Error.stackTraceLimit = 0
    super(message, options)
    Error.stackTraceLimit = stackTraceLimit
    this.name = 'PlatformError'
    this.code = code
    this.details = details
  }

  get entry(): ErrorEntry {
    return errorTable[this.code]
  }

  toBody(): ErrorBody {
    return { code: this.code, message: this.message, ...(this.details ? { details: this.details } : {}) }
  }

  /** The error that another service sent; anything that is not an `ErrorBody` becomes INTERNAL. */
  static fromBody(body: unknown): PlatformError {
    const known =
      typeof body === 'object' && body !== null && 'code' in body && Object.hasOwn(errorTable, String(body.code))
        ? (body as ErrorBody)
        : undefined
    return known
      ? new PlatformError(known.code, known.message, known.details)
      : new PlatformError('INTERNAL', 'a service answered with an error of unknown shape')
  }
}
