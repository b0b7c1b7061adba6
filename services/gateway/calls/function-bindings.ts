/** Which functions a function is bound to, from memory: a call is allowed by its binding, as it is at that moment. */
import { checkBindings, openBindings } from '../../chassis/sealed-bindings.ts'
import type { Sealer } from '../../chassis/sealing.ts'
import type { Verifier } from '../../chassis/signing.ts'
import { WatchedBucket, type BucketDeps } from '../../chassis/watched-bucket.ts'
import type { FunctionBinding } from '../../contracts/bindings.ts'
import { bindingsKey } from '../../contracts/subjects.ts'

/** By the binding's name. */
type Bound = ReadonlyMap<string, FunctionBinding>

export type IsWanted = (binding: FunctionBinding, name: string) => boolean

export interface FunctionBindings {
  /** Undefined: the function has no such binding now. @param is of its name */
  find(tenant: string, name: string, is: IsWanted): Promise<FunctionBinding | undefined>
  start(): void
  close(): void
}

export const followBindings = (
  deps: BucketDeps & { readonly sealer: Sealer; readonly verifier: Verifier },
): FunctionBindings => {
  const { sealer, verifier, logger } = deps
  const bucket = new WatchedBucket<Bound>(deps, {
    name: 'bindings',
    filter: bindingsKey('*', '*'),
    read: (entry) => {
      try {
        const stored = checkBindings(verifier, entry.json(), entry.key)
        const bindings = openBindings(sealer, stored, entry.key)?.bindings
        return new Map(
          Object.entries(bindings ?? {}).flatMap(([of, binding]) =>
            binding.type === 'function' ? [[of, binding]] : [],
          ),
        )
      } catch (err) {
        logger.error({ err, key: entry.key }, 'bindings cannot be read: their function calls nobody')
        // In the place of what was known: that must not go on.
        return new Map()
      }
    },
  })
  return {
    find: async (tenant, name, is) => {
      const key = bindingsKey(tenant, name)
      const among = (bound: Bound | undefined) => [...(bound ?? [])].find(([of, binding]) => is(binding, of))?.[1]
      // Another gateway may have written it a moment ago, and a node may know already.
      return among(bucket.get(key)) ?? among((await bucket.confirm(key))?.value)
    },
    start: () => bucket.start(),
    close: () => bucket.close(),
  }
}
