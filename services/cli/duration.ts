import { InvalidArgumentError } from 'commander'

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `500ms`, `30s`, `5m`, `2h`, `1d` -> milliseconds. @throws InvalidArgumentError */
export const parseDuration = (text: string): number => {
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) ?? []
  if (!amount || !unit)
    throw new InvalidArgumentError('a duration is a whole number with a unit: 500ms, 30s, 5m, 2h, 1d')
  return Number(amount) * units[unit as keyof typeof units]
}

/** @throws InvalidArgumentError */
export const parseWhole = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('a whole number is expected')
  return Number(text)
}

/** `K=V`, gathered over repetitions. @throws InvalidArgumentError */
export const gatherVariable = (text: string, before: Record<string, string> = {}): Record<string, string> => {
  const at = text.indexOf('=')
  if (at <= 0) throw new InvalidArgumentError('NAME=VALUE is expected')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}
