/** Which nodes have files of a revision, as they tell (`contracts/code-images.ts`): its checkpoint, or the image of its code. */
import type { NodeFiles } from '../contracts/code-images.ts'
import { revisionKey, type RevisionRef } from '../contracts/placement.ts'
import type { Node } from './pool.ts'

/** The first is the better: a start from it needs the other one too, and has it. */
export type FilesHeld = 'checkpoint' | 'code'

export interface NodeFilesView {
  /** In the order in which they told. */
  holders(revision: RevisionRef): Iterable<readonly [Node, FilesHeld]>
  on(revision: RevisionRef, node: Node): FilesHeld | undefined
}

export class NodeFilesBook implements NodeFilesView {
  readonly #byRevision = new Map<string, Map<Node, FilesHeld>>()
  readonly #byNode = new Map<Node, Set<string>>()

  holders(revision: RevisionRef): Iterable<readonly [Node, FilesHeld]> {
    return this.#byRevision.get(revisionKey(revision)) ?? []
  }

  on(revision: RevisionRef, node: Node): FilesHeld | undefined {
    return this.#byRevision.get(revisionKey(revision))?.get(node)
  }

  told(node: Node, { all, checkpoints, code, gone }: NodeFiles): void {
    if (all) this.forget(node)
    for (const key of gone) this.#take(key, node)
    for (const key of code) this.#put(key, node, 'code')
    for (const key of checkpoints) this.#put(key, node, 'checkpoint')
  }

  forget(node: Node): void {
    for (const key of this.#byNode.get(node) ?? []) this.#take(key, node)
    this.#byNode.delete(node)
  }

  #put(key: string, node: Node, held: FilesHeld): void {
    const nodes = this.#byRevision.get(key) ?? new Map<Node, FilesHeld>()
    this.#byRevision.set(key, nodes.set(node, held))
    const keys = this.#byNode.get(node) ?? new Set<string>()
    this.#byNode.set(node, keys.add(key))
  }

  #take(key: string, node: Node): void {
    const nodes = this.#byRevision.get(key)
    nodes?.delete(node)
    if (nodes?.size === 0) this.#byRevision.delete(key)
    this.#byNode.get(node)?.delete(key)
  }
}
