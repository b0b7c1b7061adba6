/** The gateway's link to a scheduler: each revision is told once, each placement after that is a few numbers and an id. */
import { Compile } from 'typebox/compile'
import { LinkClient } from '../chassis/link/client.ts'
import { maxClaims, type FunctionClaim } from '../contracts/claims.ts'
import { PlatformError } from '../contracts/errors.ts'
import { maxOver, maxRevisions, Placed, PlacedLate, placementLink, type RevisionNeeds } from '../contracts/links.ts'
import { revisionKey, type Placement, type PlacementRequest } from '../contracts/placement.ts'
import { FullQueues } from './full-queues.ts'

const schemas = { placed: Compile(Placed), late: Compile(PlacedLate) }
const connectMs = 2_000

interface Told {
  readonly number: number
  readonly reservedConcurrency: number | undefined
}

export class PlacementLink {
  readonly #client: LinkClient
  /** Revisions that this connection knows, by number and by key. */
  #numbers = new Map<string, Told>()
  #keys: string[] = []
  #next = 0
  #over: string[] = []
  readonly #full = new FullQueues()

  /**
   * @param ca see `clientTls`
   * @param claims what is claimed, told first on each connection; nothing while it is not known
   */
  constructor(url: string, token: string, ca?: string, claims?: () => readonly FunctionClaim[] | undefined) {
    const common = { url, trust: () => ({ token, ca }), path: placementLink, service: 'scheduler', connectMs } as const
    this.#client = new LinkClient({
      ...common,
      onOpen: () => {
        this.#numbers = new Map()
        this.#keys = []
        this.#next = 0
        this.#client.tell('waits', [])
        this.tellAllClaims(claims?.())
      },
    })
  }

  /** @throws PlatformError what the scheduler answered; anything else: it cannot be reached, or the connection broke before its answer */
  async place(request: PlacementRequest, signal: AbortSignal): Promise<Placement & { readonly term: number }> {
    if (!this.#client.isOpen) await this.#client.open()
    // A slot that the caller's last request held may be the one for this.
    this.#tellOver()
    const { invocationId, startWish, deadlineAt, excludeNodes } = request
    const key = revisionKey(request.revision)
    this.#full.pass(key)
    const number = this.#numberOf(request, key)
    const args = [number, invocationId, startWish, deadlineAt, excludeNodes]
    const result = await this.#client.call('place', args, { signal }).catch((error: unknown) => {
      // The answer may be on its way: nobody will use it.
      if (signal.aborted) this.over(invocationId)
      if (error instanceof PlatformError) this.#full.refused(key, error)
      throw error
    })
    if (!schemas.placed.Check(result) && !schemas.late.Check(result))
      throw new PlatformError('INTERNAL', 'the scheduler answered with something else')
    const [nodeId, nodeUrl, decision, reason, term, waitedMs = 0] = result
    return { invocationId, nodeId, nodeUrl, decision, reason, term, waitedMs }
  }

  /** Told with everything else of this turn. */
  over(invocationId: string): void {
    if (!this.#client.isOpen) return
    this.#over.push(invocationId)
    if (this.#over.length === 1) queueMicrotask(() => this.#tellOver())
    if (this.#over.length === maxOver) this.#tellOver()
  }

  /** A scheduler that was replaced learns of it. */
  tellTerm(term: number): void {
    this.#client.tell('term', [term])
  }

  tellClaims(claims: readonly FunctionClaim[]): void {
    for (let at = 0; at < claims.length; at += maxClaims)
      this.#client.tell('claims', [claims.slice(at, at + maxClaims)])
  }

  tellAllClaims(claims: readonly FunctionClaim[] | undefined): void {
    if (!claims) return
    this.tellClaims(claims)
    this.#client.tell('claimed', [])
  }

  /** After all claims were told on this connection. @returns nothing where the scheduler cannot be asked */
  async leads(): Promise<boolean | undefined> {
    try {
      await this.#client.call('claimed', [], { timeoutMs: connectMs })
      return true
    } catch (error) {
      return error instanceof PlatformError && error.code === 'NOT_LEADER' ? false : undefined
    }
  }

  /** The next connection may be to another one, where several are behind one address. */
  leave(): void {
    this.#client.reset()
  }

  async isThere(): Promise<boolean> {
    return this.#client.open().then(
      () => true,
      () => false,
    )
  }

  close(): void {
    this.#client.close()
  }

  #tellOver(): void {
    if (this.#over.length === 0) return
    this.#client.tell('over', [this.#over])
    this.#over = []
  }

  #numberOf({ revision, runtime, memoryMiB, policy, reservedConcurrency }: PlacementRequest, key: string): number {
    const known = this.#numbers.get(key)
    // A revision never changes; what is reserved for its function may.
    if (known && known.reservedConcurrency === reservedConcurrency) return known.number
    const number = known?.number ?? this.#nextNumber(key)
    this.#numbers.set(key, { number, reservedConcurrency })
    const needs: RevisionNeeds = { revision, runtime, memoryMiB, policy }
    this.#client.tell('revision', [
      number,
      reservedConcurrency === undefined ? needs : { ...needs, reservedConcurrency },
    ])
    return number
  }

  #nextNumber(key: string): number {
    const number = this.#next++ % maxRevisions
    const before = this.#keys[number]
    if (before !== undefined) this.#numbers.delete(before)
    this.#keys[number] = key
    return number
  }
}
