/** The gateway's links to all schedulers. One of them leads; which one is found out by asking. */
import type { FunctionClaim } from '../contracts/claims.ts'
import { PlatformError } from '../contracts/errors.ts'
import type { Placement, PlacementRequest } from '../contracts/placement.ts'
import { PlacementLink } from './placement-link.ts'

/** No scheduler answered as a leader: there is none just now, or it cannot be reached. */
export class NoLeader extends Error {}

export class PlacementLinks {
  readonly #links: readonly PlacementLink[]
  #leader = 0
  /** Terms only grow: what a scheduler says under an earlier one is over. */
  #latestTerm = 0
  #leaderless = false
  #finding = false

  #claims: () => readonly FunctionClaim[] | undefined = () => undefined

  /** @param ca see `clientTls` */
  constructor(urls: readonly string[], token: string, ca?: string) {
    this.#links = urls.map((url) => new PlacementLink(url, token, ca, () => this.#claims()))
  }

  /** All schedulers are told from now on, whoever leads: the next leader has to know. */
  claim(all: () => readonly FunctionClaim[] | undefined): void {
    this.#claims = all
    for (const link of this.#links) link.tellAllClaims(all())
  }

  claimChanged(claim: FunctionClaim): void {
    for (const link of this.#links) link.tellClaims([claim])
  }

  /**
   * Asks each scheduler at most once, last time's leader first.
   *
   * @param patient false: while no scheduler led last time, and somebody else is finding out whether one does now, gives up at once
   * @throws PlatformError what the leader answered; NoLeader
   */
  async place(request: PlacementRequest, signal: AbortSignal, patient: boolean): Promise<Placement> {
    if (!this.#leaderless) return this.#askAll(request, signal)
    if (this.#finding && !patient) throw new NoLeader('no scheduler led a moment ago')
    this.#finding = true
    try {
      return await this.#askAll(request, signal)
    } finally {
      this.#finding = false
    }
  }

  async #askAll(request: PlacementRequest, signal: AbortSignal): Promise<Placement> {
    let cause: unknown
    const first = this.#leader
    for (let tries = 0; tries < this.#links.length; tries++) {
      const index = (first + tries) % this.#links.length
      const link = this.#links[index]
      if (!link) break
      try {
        const { term, ...placement } = await link.place(request, signal)
        if (this.#isCurrent(term, link)) {
          this.#leader = index
          this.#leaderless = false
          return placement
        }
      } catch (error) {
        if (signal.aborted || (error instanceof PlatformError && error.code !== 'NOT_LEADER')) throw error
        // Behind one address there may be several.
        if (error instanceof PlatformError) link.leave()
        cause = error
      }
    }
    this.#leaderless = true
    throw new NoLeader('no scheduler leads', { cause })
  }

  /** Told to whoever led last. */
  over(invocationId: string): void {
    this.#links[this.#leader]?.over(invocationId)
  }

  async isThere(): Promise<boolean> {
    const there = (await Promise.all(this.#links.map(async (link) => link.isThere()))).includes(true)
    if (there && this.#claims()) void this.#findLeader()
    return there
  }

  /** Also while nobody calls: who leads has to know what is claimed, and behind one address there may be several. */
  async #findLeader(): Promise<void> {
    const links = await Promise.all(this.#links.map(async (link) => [link, await link.leads()] as const))
    if (links.some(([, leads]) => leads === true)) return
    for (const [link, leads] of links) if (leads === false) link.leave()
  }

  close(): void {
    for (const link of this.#links) link.close()
  }

  #isCurrent(term: number, link: PlacementLink): boolean {
    if (term < this.#latestTerm) {
      link.tellTerm(this.#latestTerm)
      return false
    }
    if (term > this.#latestTerm) {
      this.#latestTerm = term
      for (const other of this.#links) if (other !== link) other.tellTerm(term)
    }
    return true
  }
}
