/** Takes events from the queue and runs them through the same path as any invocation; acknowledges when the outcome is committed. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Consumer, JsMsg } from '@nats-io/jetstream'
import type { KV } from '@nats-io/kv'
import type { Logger } from '../../chassis/log.ts'
import { toGatewayError } from '../aws-errors.ts'
import { latest } from '../../contracts/function.ts'
import { defaultEventInvoke } from '../function-record.ts'
import type { Invoker } from '../invoke/invoker.ts'
import { findVersion } from '../lookup.ts'
import type { GatewayMetrics } from '../metrics.ts'
import { allBytes, bytesOf } from '../node-client.ts'
import type { Registry } from '../registry.ts'
import { resolveVersion } from '../resolve.ts'
import { nextStep, outcomeOfError, type AttemptOutcome } from './next-step.ts'
import { ackWaitMs, eventOf, type AsyncEvent, type AsyncQueue } from './queue.ts'

export interface WorkerDeps {
  readonly queue: AsyncQueue
  /** Bucket `asyncState`: attempts of events that failed at least once. */
  readonly state: KV
  readonly registry: Registry
  readonly invoker: Invoker
  readonly metrics: GatewayMetrics
  readonly logger: Logger
  readonly region: string
  readonly workers: number
  readonly retryBaseMs: number
}

/** Also what an idle drain may take. */
const pullMs = 1_500
const measureMs = 5_000
const giveBackMs = 500

/** Stops taking events; those in hand have `graceMs` to end, then they are given back, for another gateway or for later. */
export type StopWorkers = (graceMs: number) => Promise<void>

export const startAsyncWorkers = (deps: WorkerDeps): StopWorkers => {
  const stop = new AbortController()
  const giveBack = new AbortController()
  const { logger, queue, metrics } = deps
  const pause = (ms: number) => delay(ms, undefined, { signal: stop.signal }).catch(() => undefined)

  let opening: Promise<Consumer> | undefined
  const forget = (): void => (opening = undefined)
  const work = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        // The registry first: an event whose function is not known yet would be buried.
        if (!deps.registry.synced) {
          await pause(50)
          continue
        }
        const consumer = await (opening ??= queue.consumer())
        const message = await consumer.next({ expires: pullMs })
        if (!message) continue
        if (stop.signal.aborted) message.nak()
        else await handle(deps, message, giveBack.signal)
      } catch (err) {
        forget()
        if (!stop.signal.aborted) logger.warn({ err }, 'async: the queue cannot be read')
        await pause(500)
      }
    }
  }
  const measure = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await queue.measure(metrics).catch((err: unknown) => logger.debug({ err }, 'async: no measure'))
      await pause(measureMs)
    }
  }
  const loops = [...Array.from({ length: deps.workers }, work), measure()]
  return async (graceMs) => {
    stop.abort()
    const late = setTimeout(() => giveBack.abort(), graceMs)
    await Promise.race([Promise.all(loops), delay(graceMs + giveBackMs, undefined, { ref: false })])
    clearTimeout(late)
  }
}

const handle = async (deps: WorkerDeps, message: JsMsg, giveBack: AbortSignal): Promise<void> => {
  const { logger, queue, state, metrics } = deps
  const event = eventOf(message.headers)
  if (!event) {
    logger.error({ subject: message.subject, seq: message.seq }, 'async: a message is no event')
    return message.term('no event')
  }
  const beat = setInterval(() => message.working(), ackWaitMs / 3)
  try {
    const attemptsBefore = message.info.deliveryCount > 1 ? await readAttempts(state, event.invocationId) : 0
    // Deliveries count the runs for the meter: a run that was cut off has its record under its own number.
    const outcome = await attempt(deps, event, message.data, message.info.deliveryCount, giveBack)
    if (outcome === undefined) return message.nak()
    const ageMs = Date.now() - event.acceptedAt
    const next = nextStep(
      outcome,
      { attemptsBefore, deliveries: message.info.deliveryCount, ageMs },
      { ...eventInvokeOf(deps.registry, event), retryBaseMs: deps.retryBaseMs },
    )
    if (next.step === 'retry') {
      if (next.attempts !== attemptsBefore) await state.put(event.invocationId, String(next.attempts))
      metrics.asyncOutcomes.inc({ outcome: outcome.kind === 'failed' ? 'retried' : 'postponed' })
      return message.nak(next.delayMs)
    }
    if (next.step === 'bury') {
      const error = { type: next.type, message: next.message.slice(0, 1024) }
      await queue.bury({ ...event, error, attempts: next.attempts, failedAt: Date.now() }, message.data)
      logger.warn({ invocationId: event.invocationId, name: event.name, ...next }, 'async: an event is dead')
    }
    metrics.asyncOutcomes.inc({ outcome: next.step === 'bury' ? 'dead' : 'done' })
    await message.ackAck()
    if (attemptsBefore > 0) await state.purge(event.invocationId)
  } catch (err) {
    // Not acknowledged: it comes again.
    logger.warn({ err, invocationId: event.invocationId }, 'async: the outcome could not be committed')
    message.nak(1_000)
  } finally {
    clearInterval(beat)
  }
}

/** @returns nothing when the gateway stops in the middle. */
const attempt = async (
  { registry, invoker, region }: WorkerDeps,
  event: AsyncEvent,
  payload: Uint8Array,
  number: number,
  giveBack: AbortSignal,
): Promise<AttemptOutcome | undefined> => {
  const { tenant, name, qualifier, invocationId, clientContext, traceparent, hops } = event
  try {
    // Not found would bury the event: that takes the store's word, not only memory's.
    await findVersion({ registry, config: { region } }, { tenant, name, qualifier })
    const random = Math.random()
    const { reply } = await invoker.invoke({
      invocationId,
      attempt: number,
      resolve: () => resolveVersion(registry, region, registry.get(tenant, name, qualifier), qualifier, random),
      qualifier,
      kind: 'event',
      responseMode: 'buffered',
      body: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      startWish: 'auto',
      clientContext,
      traceparent,
      hops,
      signal: giveBack,
    })
    const answer = await allBytes(bytesOf(reply))
    const type = reply.functionError()
    return type === undefined ? { kind: 'ok' } : { kind: 'failed', type, message: answer.toString('utf8', 0, 1024) }
  } catch (error) {
    return giveBack.aborted ? undefined : outcomeOfError(toGatewayError(error))
  }
}

/** What was configured for the qualifier that was invoked. */
const eventInvokeOf = (registry: Registry, { tenant, name, qualifier = latest }: AsyncEvent) => {
  const record = registry.find(tenant, name)
  const configs = record?.eventInvokeConfigs ?? {}
  return (
    (Object.hasOwn(configs, qualifier) ? configs[qualifier] : undefined) ?? record?.eventInvoke ?? defaultEventInvoke
  )
}

const readAttempts = async (state: KV, invocationId: string): Promise<number> => {
  const entry = await state.get(invocationId)
  return entry?.operation === 'PUT' ? Number(entry.string()) : 0
}
