/** The platform's own log lines, as Lambda writes them. */
import type { StartType } from '../../contracts/placement.ts'

export const startLine = (id: string, version: string): string => `START RequestId: ${id} Version: ${version}`
export const endLine = (id: string): string => `END RequestId: ${id}`

export interface ReportFigures {
  readonly invocationId: string
  readonly durationMs: number
  readonly billedMs: number
  readonly memoryMiB: number
  readonly maxMemoryMiB: number
  readonly initMs?: number | undefined
  readonly startType: StartType
  readonly status?: string | undefined
}

export const reportLine = (figures: ReportFigures): string =>
  [
    `REPORT RequestId: ${figures.invocationId}`,
    `Duration: ${figures.durationMs.toFixed(2)} ms`,
    `Billed Duration: ${figures.billedMs} ms`,
    `Memory Size: ${figures.memoryMiB} MB`,
    `Max Memory Used: ${figures.maxMemoryMiB} MB`,
    ...(figures.initMs === undefined ? [] : [`Init Duration: ${figures.initMs.toFixed(2)} ms`]),
    `Start Type: ${figures.startType}`,
    ...(figures.status === undefined ? [] : [`Status: ${figures.status}`]),
  ].join('\t')
