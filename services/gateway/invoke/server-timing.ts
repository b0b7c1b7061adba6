/** The start waterfall as a `Server-Timing` header: `name;dur=12.3;desc="@4.5"`, offset from the request's arrival at the gateway. */
import type { InvocationReport } from '../../contracts/usage.ts'

export interface GatewayPhases {
  readonly authMs: number
  /** `performance.now()` */
  readonly receivedAt: number
  readonly placeMs?: number
  /** Of `placeMs`: the time in the scheduler's queue, which is a phase of its own. */
  readonly waitedMs?: number
  readonly sentAt?: number
}

const round = (ms: number): string => String(Math.round(Math.max(0, ms) * 100) / 100)
const token = (name: string): string => name.replaceAll(/[^A-Za-z0-9_.-]/g, '-')

export const serverTiming = (phases: GatewayPhases, report?: InvocationReport): string => {
  const { authMs, receivedAt, placeMs, waitedMs = 0, sentAt } = phases
  const entry = (name: string, startMs: number, durationMs: number): string =>
    `${token(name)};dur=${round(durationMs)};desc="@${round(startMs)}"`
  const parts = [entry('auth', 0, authMs)]
  const sentMs = sentAt === undefined ? undefined : sentAt - receivedAt
  if (placeMs !== undefined && sentMs !== undefined) {
    const decidingMs = Math.max(0, placeMs - waitedMs)
    parts.push(entry('place', sentMs - placeMs, decidingMs))
    if (waitedMs > 0) parts.push(entry('wait', sentMs - placeMs + decidingMs, waitedMs))
  }
  for (const { name, startMs, durationMs } of report?.phases ?? [])
    parts.push(entry(name, (sentMs ?? 0) + startMs, durationMs))
  if (report) parts.push(`start;desc="${token(report.startType)}"`)
  return parts.join(', ')
}
