/** What the policy pack would say to a program that ran without an engine. */
import { rules } from '../policy/rules.ts'
import type { Seen } from './program-run.ts'

/** Secrets as the engine gives them to a pack: in the clear. */
const unwrap = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(unwrap)
  if (typeof value !== 'object' || value === null) return value
  const { value: inner, ...rest } = value as { value?: unknown } & Readonly<Record<string, unknown>>
  const isSecret = inner !== undefined && Object.values(rest).includes('1b47061264138c4ac30d75fd1eb44270')
  if (isSecret) return unwrap(inner)
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, unwrap(entry)]))
}

/** A line for each violation. @param isProtected an option and no input: the mocks do not tell */
export const policyViolations = (seen: Seen, isProtected = true): string[] =>
  [...seen.values()].flatMap(({ type, name, inputs }) => {
    const subject = { type, name, props: unwrap(inputs) as object, isProtected, config: {} }
    return rules.flatMap((rule) => rule.check(subject).map((line) => `${rule.name}: ${name}: ${line}`))
  })
