import { describe, expect, it } from 'vitest'
import { errorTable, PlatformError, type ErrorCode } from '../../contracts/errors.ts'
import { nextStep, outcomeOfError, type AttemptOutcome } from './next-step.ts'

const policy = { maximumRetryAttempts: 2, maximumEventAgeMs: 3_600_000, retryBaseMs: 60_000 }
const state = { attemptsBefore: 0, deliveries: 1, ageMs: 0 }
const failed: AttemptOutcome = { kind: 'failed', type: 'Unhandled', message: 'm' }
const postponed: AttemptOutcome = { kind: 'postponed', type: 'NO_CAPACITY', message: 'm' }

describe('after an attempt', () => {
  it('that went well, the event is done', () => {
    expect(nextStep({ kind: 'ok' }, state, policy)).toEqual({ step: 'done' })
  })

  it.each([
    [0, { step: 'retry', delayMs: 60_000, attempts: 1 }],
    [1, { step: 'retry', delayMs: 120_000, attempts: 2 }],
    [2, { step: 'bury', attempts: 3 }],
  ])('that failed, with %d before it', (attemptsBefore, step) => {
    expect(nextStep(failed, { ...state, attemptsBefore }, policy)).toMatchObject(step)
  })

  it('that failed, without any more allowed, the event is buried', () => {
    expect(nextStep(failed, state, { ...policy, maximumRetryAttempts: 0 })).toMatchObject({ step: 'bury', attempts: 1 })
  })

  it('that the platform could not make, it waits, and no attempt is used up', () => {
    expect(nextStep(postponed, { ...state, attemptsBefore: 2 }, policy)).toEqual({
      step: 'retry',
      delayMs: 500,
      attempts: 2,
    })
    expect(nextStep(postponed, { ...state, deliveries: 4 }, policy)).toMatchObject({ delayMs: 4_000 })
    expect(nextStep(postponed, { ...state, deliveries: 1000 }, policy)).toMatchObject({ delayMs: 60_000 })
  })

  it('whose next one would come too late, the event is buried, whatever the reason', () => {
    expect(nextStep(failed, { ...state, ageMs: 3_540_000 }, policy)).toMatchObject({ step: 'retry' })
    expect(nextStep(failed, { ...state, ageMs: 3_540_001 }, policy)).toMatchObject({ step: 'bury', attempts: 1 })
    expect(nextStep(postponed, { ...state, ageMs: 3_600_000 }, policy)).toMatchObject({ step: 'bury', attempts: 0 })
  })

  it('of a function that is gone, the event is buried', () => {
    expect(nextStep({ kind: 'hopeless', type: 'NOT_FOUND', message: '' }, state, policy)).toMatchObject({
      step: 'bury',
      attempts: 0,
    })
  })
})

it('every error is the function’s, the platform’s, or hopeless', () => {
  const kinds = (Object.keys(errorTable) as ErrorCode[]).map((code) => [
    code,
    outcomeOfError(new PlatformError(code, '')).kind,
  ])
  expect(new Set(kinds.filter(([, kind]) => kind === 'postponed').map(([code]) => code))).toEqual(
    new Set(['NO_CAPACITY', 'NO_INSTANCE', 'STORAGE_FULL', 'TOO_MANY_REQUESTS', 'UNAVAILABLE', 'UNSUPPORTED_PROTOCOL']),
  )
  expect(kinds.filter(([, kind]) => kind === 'hopeless')).toEqual([['NOT_FOUND', 'hopeless']])
})
