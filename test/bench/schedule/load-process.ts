/** Gateways of the benchmark, as a process of their own: placements over the gateway's own link, and the requests that follow them to the nodes. */
import { connect as connectTo } from 'node:net'
import { PlatformError } from '../../../services/contracts/errors.ts'
import type { Placement, PlacementRequest } from '../../../services/contracts/placement.ts'
import { PlacementLink } from '../../../services/gateway/placement-link.ts'
import { placementRequest } from '../../../services/gateway/placement-request.ts'
import { percentile } from '../statistics.ts'
import { endFields, invocationIdOf, nodeIdOf, versionOf } from './invocations.ts'
import { generateLoad, zipf } from './load.ts'
import type { LoadInput, LoadResult } from './processes.ts'
import { RecordStream } from './record-stream.ts'
import { round } from './row.ts'

const warmUpSeconds = 15
const settleSeconds = 5
const gateways = 2
const meanHandlerMs = 50
const deadlineMs = 30_000

const { schedulerUrl, token, nodes, functions, keepAliveMs, perSecond, seconds, socketPaths } = JSON.parse(
  process.argv[2] ?? '',
) as LoadInput

const links = Array.from({ length: gateways }, () => new PlacementLink(schedulerUrl, token))
const linkOf = (number: number): PlacementLink => links[number % gateways] as PlacementLink
const streams = socketPaths.map(
  (path) => new RecordStream(connectTo(path), endFields, ([number = 0]) => linkOf(number).over(invocationIdOf(number))),
)
const nodeIndexes = new Map(Array.from({ length: nodes }, (_, index) => [nodeIdOf(index), index]))
const versions = Array.from({ length: functions }, (_, index) => versionOf(index, keepAliveMs))
const draw = zipf(functions)

/** Growing arrays of so many numbers would be collected in the middle of the measurement. */
const mostSamples = Math.ceil(perSecond * seconds * 1.1)
const waits = new Float64Array(mostSamples)
const sentLate = new Float64Array(mostSamples)
const answered = new Float64Array(mostSamples)
let [asked, samples, errors, starts] = [0, 0, 0, 0]
/** Nobody hangs up here. Ten thousand real signals a second would be collected in the process that is to send on time. */
const patience = {
  aborted: false,
  throwIfAborted: () => undefined,
  addEventListener: () => undefined,
  removeEventListener: () => undefined,
} as unknown as AbortSignal
const codes: Record<string, number> = {}
let measuring = false
let open = 0
let allAnswered: () => void = () => undefined

const run = (number: number, index: number, { nodeId }: Placement): void => {
  const node = nodeIndexes.get(nodeId) ?? 0
  const handlerMicroseconds = Math.round(-Math.log(1 - Math.random()) * meanHandlerMs * 1000)
  streams[node % streams.length]?.send(number, node, index, handlerMicroseconds)
}

const failed = (error: unknown, counts: boolean): void => {
  if (counts) errors++
  const code = error instanceof PlatformError ? error.code : String(error)
  codes[code] = (codes[code] ?? 0) + 1
}

const place = async (at: number, counts: boolean): Promise<void> => {
  const number = asked++
  const index = draw()
  const request: PlacementRequest = placementRequest(
    versions[index] as (typeof versions)[number],
    {},
    { invocationId: invocationIdOf(number), startWish: 'auto', deadlineAt: Date.now() + deadlineMs, excludeNodes: [] },
  )
  open++
  const sentAt = performance.now()
  try {
    const placement = await linkOf(number).place(request, patience)
    if (counts && samples < mostSamples) {
      const now = performance.now()
      waits[samples] = now - at
      sentLate[samples] = sentAt - at
      answered[samples] = now - sentAt
      samples++
      if (placement.decision === 'start') starts++
    }
    run(number, index, placement)
  } catch (error) {
    failed(error, counts)
  } finally {
    if (--open === 0) allAnswered()
  }
}

const load = async (rate: number, forSeconds: number): Promise<void> =>
  generateLoad({ perSecond: rate, seconds: forSeconds, arrive: (at) => void place(at, measuring) })

await Promise.all(links.map(async (link) => link.isThere()))
// A day does not begin at its peak: all of it at once would be a burst of starts, which is another measurement.
for (let step = 1; step <= warmUpSeconds; step++) await load((perSecond * step) / warmUpSeconds, 1)
await load(perSecond, settleSeconds)
process.send?.({ kind: 'measuring' })
measuring = true
const from = performance.now()
await load(perSecond, seconds)
measuring = false
const stillOpen = new Promise<void>((resolve) => (allAnswered = resolve))
if (open > 0) await stillOpen
const tookSeconds = (performance.now() - from) / 1000
const p = (of: Float64Array, share: number): number => round(percentile(of.subarray(0, samples), share))
const result: LoadResult = {
  placements: samples,
  offeredPerSecond: round((samples + errors) / seconds),
  achievedPerSecond: round(samples / tookSeconds),
  p50Ms: p(waits, 0.5),
  p99Ms: p(waits, 0.99),
  sentLateP99Ms: p(sentLate, 0.99),
  answeredP50Ms: p(answered, 0.5),
  answeredP99Ms: p(answered, 0.99),
  errors,
  errorCodes: codes,
  startShare: round(starts / samples),
}
process.send?.({ kind: 'measured', result })
for (const link of links) link.close()
process.once('message', () => process.exit(0))
