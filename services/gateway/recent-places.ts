/** Where each revision's last requests went: a node that may have an idle instance when no scheduler can say so. */
import { revisionKey, type Placement, type RevisionRef } from '../contracts/placement.ts'

const most = 10_000

export class RecentPlaces {
  readonly #places = new Map<string, Pick<Placement, 'nodeId' | 'nodeUrl'>>()

  placed(revision: RevisionRef, { nodeId, nodeUrl }: Placement): void {
    const key = revisionKey(revision)
    this.#places.delete(key)
    this.#places.set(key, { nodeId, nodeUrl })
    if (this.#places.size <= most) return
    for (const oldest of this.#places.keys()) {
      this.#places.delete(oldest)
      return
    }
  }

  of(revision: RevisionRef): Pick<Placement, 'nodeId' | 'nodeUrl'> | undefined {
    return this.#places.get(revisionKey(revision))
  }
}
