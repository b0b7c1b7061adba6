/**
 * `Math.random` that can be reseeded. V8 keeps its generator's state in memory that a checkpoint copies, offers no way to seed it
 * anew, and seeds new vm contexts from an isolate-wide generator that is copied as well. So this context and every vm context
 * get a generator of their own (xoshiro128**, 53 bits a number), seeded by OpenSSL. Workers are new isolates, which V8
 * seeds from OpenSSL by itself.
 */
import { randomFillSync } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import vm from 'node:vm'

/** @returns how many numbers were drawn since it was seeded last. */
type Seed = (a: number, b: number, c: number, d: number) => number

/**
 * Runs inside the context it serves and is given numbers only, so that no object of this context leaks into it.
 * @returns the function that seeds it.
 */
const install = `(() => {
  'use strict'
  let a = 1, b = 0, c = 0, d = 0, drawn = 0
  const next = () => {
    const m = Math.imul(b, 5)
    drawn++
    const result = Math.imul((m << 7) | (m >>> 25), 9) >>> 0
    const t = b << 9
    c ^= a; d ^= b; b ^= c; a ^= d; c ^= t
    d = (d << 11) | (d >>> 21)
    return result
  }
  const { random } = { random() { return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992 } }
  Object.defineProperty(Math, 'random', { value: random, writable: true, enumerable: false, configurable: true })
  return (s0, s1, s2, s3) => {
    const before = drawn >>> 1
    a = s0 | 0; b = s1 | 0; c = s2 | 0; d = s3 | 1; drawn = 0
    return before
  }
})()`

const script = new vm.Script(install, { filename: 'forkyard:math-random' })

const seedFromCrypto = (seed: Seed): number => {
  const [a, b, c, d] = randomFillSync(new Uint32Array(4)) as unknown as [number, number, number, number]
  return seed(a, b, c, d)
}

const seedMain = script.runInThisContext() as Seed

/** Contexts that exist; one is held by its own global object alone. */
const contexts = new Set<WeakRef<vm.Context>>()
const seeds = new WeakMap<vm.Context, Seed>()

/**
 * Call in every clone, after OpenSSL was reseeded. A fork may have contexts that its seed made.
 * @returns how many numbers were drawn in this context since it was seeded last.
 */
export const reseedMathRandom = (): number => {
  const drawn = seedFromCrypto(seedMain)
  for (const reference of contexts) {
    const context = reference.deref()
    const seed = context && seeds.get(context)
    if (seed) seedFromCrypto(seed)
    else contexts.delete(reference)
  }
  return drawn
}

const cover = (context: vm.Context): void => {
  const seed = script.runInContext(context) as Seed
  seedFromCrypto(seed)
  if (!keepContexts) return
  seeds.set(context, seed)
  contexts.add(new WeakRef(context))
}

let keepContexts = false

/** In a process that will be copied, until it is: what is made from here on is seeded anew by `reseedMathRandom`. */
export const rememberContexts = (remember: boolean): void => {
  keepContexts = remember
}

/** From here on, new vm contexts are seeded too, however they are made. */
export const coverNewContexts = (): void => {
  const { createContext, isContext } = vm
  vm.createContext = ((object?: vm.Context, options?: vm.CreateContextOptions) => {
    const known = typeof object === 'object' && object !== null && isContext(object)
    const context = createContext(object, options)
    if (!known) cover(context)
    return context
  }) as typeof vm.createContext
  vm.Script.prototype.runInNewContext = runInNewContext
  vm.runInNewContext = (code, object, options) => {
    const given = typeof options === 'string' ? { filename: options } : (options ?? {})
    return vm.runInContext(code, vm.createContext(object, contextOptions(given)), given)
  }
  syncBuiltinESMExports()
}

const runInNewContext: vm.Script['runInNewContext'] = function runInNewContext(this: vm.Script, object, options) {
  const given = typeof options === 'string' ? { filename: options } : (options ?? {})
  return this.runInContext(vm.createContext(object, contextOptions(given)), given) as unknown
}

const contextOptions = (options: vm.RunningScriptInNewContextOptions): vm.CreateContextOptions => ({
  ...(options.contextName === undefined ? {} : { name: options.contextName }),
  ...(options.contextOrigin === undefined ? {} : { origin: options.contextOrigin }),
  ...(options.contextCodeGeneration === undefined ? {} : { codeGeneration: options.contextCodeGeneration }),
  ...(options.microtaskMode === undefined ? {} : { microtaskMode: options.microtaskMode }),
})
