/** Which idle instances end now, and why: a pure decision. An instance that a lent invocation may need never ends here. */
import { endsAt, spareInstances, type Instance, type Pool } from './pool.ts'

export interface End {
  readonly instance: Instance
  readonly reason: 'keep-alive' | 'single-use' | 'old-revision'
}

/**
 * @param now epoch milliseconds
 * @param most so many may end by their keep-alive; the others are provisioned
 */
export const instancesToEnd = (pool: Pool, now: number, most = Infinity): End[] => {
  const spare = spareInstances(pool)
  const used = spare.filter(({ policy }) => !policy.reuse)
  // What is idle of it serves nobody.
  if (pool.outdated) return spare.map((instance) => ({ instance, reason: 'old-revision' as const }))
  const over = spare.filter((instance) => instance.policy.reuse && endsAt(instance) <= now)
  return [
    ...used.map((instance) => ({ instance, reason: 'single-use' as const })),
    ...over.slice(0, Math.max(0, most)).map((instance) => ({ instance, reason: 'keep-alive' as const })),
  ]
}
