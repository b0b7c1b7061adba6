/** What happens to an event after an attempt. Pure. */
import type { PlatformError } from '../../contracts/errors.ts'

export type AttemptOutcome =
  | { readonly kind: 'ok' }
  /** The function ran, or may have, and failed. */
  | { readonly kind: 'failed'; readonly type: string; readonly message: string }
  /** The platform could not run it: not the function's fault, no attempt of its own. */
  | { readonly kind: 'postponed'; readonly type: string; readonly message: string }
  /** Trying again cannot help: the function is gone. */
  | { readonly kind: 'hopeless'; readonly type: string; readonly message: string }

export type NextStep =
  | { readonly step: 'done' }
  | { readonly step: 'retry'; readonly delayMs: number; readonly attempts: number }
  | { readonly step: 'bury'; readonly attempts: number; readonly type: string; readonly message: string }

export interface AttemptState {
  /** Attempts of the function before this one. */
  readonly attemptsBefore: number
  /** Deliveries of the event so far, this one included. */
  readonly deliveries: number
  readonly ageMs: number
}

export interface RetryPolicy {
  readonly maximumRetryAttempts: number
  readonly maximumEventAgeMs: number
  readonly retryBaseMs: number
}

const firstPostponeMs = 500
const maxPostponeMs = 60_000

export const nextStep = (outcome: AttemptOutcome, state: AttemptState, policy: RetryPolicy): NextStep => {
  if (outcome.kind === 'ok') return { step: 'done' }
  const ran = outcome.kind === 'failed'
  const attempts = state.attemptsBefore + (ran ? 1 : 0)
  const { type, message } = outcome
  const bury = { step: 'bury', attempts, type, message } as const
  if (outcome.kind === 'hopeless') return bury
  if (ran && attempts > policy.maximumRetryAttempts) return bury
  const delayMs = ran
    ? policy.retryBaseMs * 2 ** (attempts - 1)
    : Math.min(maxPostponeMs, firstPostponeMs * 2 ** Math.min(10, state.deliveries - 1))
  if (state.ageMs + delayMs > policy.maximumEventAgeMs) return bury
  return { step: 'retry', delayMs, attempts }
}

const postponing = new Set([
  'NO_CAPACITY',
  'UNAVAILABLE',
  'NO_INSTANCE',
  'TOO_MANY_REQUESTS',
  'STORAGE_FULL',
  'UNSUPPORTED_PROTOCOL',
])

export const outcomeOfError = (error: PlatformError): AttemptOutcome => {
  const { code: type, message } = error
  if (type === 'NOT_FOUND') return { kind: 'hopeless', type, message }
  return { kind: postponing.has(type) ? 'postponed' : 'failed', type, message }
}
