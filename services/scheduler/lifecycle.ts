/** Which idle instances end now, and why: a pure decision. An instance that a lent invocation may need never ends here. */
import { endsAt, spareInstances, type Instance, type Pool } from './pool.ts'

export interface End {
  readonly instance: Instance
  readonly reason: 'keep-alive' | 'single-use' | 'old-revision'
}

/** @param now epoch milliseconds */
export const instancesToEnd = (pool: Pool, now: number): End[] =>
  spareInstances(pool).flatMap((instance): End[] => {
    if (!instance.policy.reuse) return [{ instance, reason: 'single-use' }]
    return endsAt(instance) <= now ? [{ instance, reason: 'keep-alive' }] : []
  })

/** A newer revision of the same function and version starts: what the older ones keep idle serves nobody. */
export const outdated = (older: Iterable<Pool>): End[] =>
  [...older].flatMap(spareInstances).map((instance) => ({ instance, reason: 'old-revision' }))
