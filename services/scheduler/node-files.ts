/** Which nodes have files of a revision, as they tell (`contracts/code-images.ts`): its checkpoint, or the image of its code. */
import type { NodeFiles } from '../contracts/code-images.ts'
import { revisionKey, type RevisionRef } from '../contracts/placement.ts'
import type { Node } from './pool.ts'

/** The first is the better: a start from it needs the other one too, and has it. */
export type FilesHeld = 'checkpoint' | 'code'

export interface NodeFilesView {
  /** Those with a checkpoint first, otherwise in the order in which they told. */
  holders(revision: RevisionRef): Iterable<readonly [Node, FilesHeld]>
  on(revision: RevisionRef, node: Node): FilesHeld | undefined
}

type Holders = Readonly<Record<FilesHeld, Set<Node>>>

function* inOrder({ checkpoint, code }: Holders): Generator<readonly [Node, FilesHeld]> {
  for (const node of checkpoint) yield [node, 'checkpoint']
  for (const node of code) yield [node, 'code']
}

export class NodeFilesBook implements NodeFilesView {
  readonly #byRevision = new Map<string, Holders>()
  readonly #byNode = new Map<Node, Set<string>>()

  holders(revision: RevisionRef): Iterable<readonly [Node, FilesHeld]> {
    const holders = this.#byRevision.get(revisionKey(revision))
    return holders ? inOrder(holders) : []
  }

  on(revision: RevisionRef, node: Node): FilesHeld | undefined {
    const holders = this.#byRevision.get(revisionKey(revision))
    if (holders?.checkpoint.has(node)) return 'checkpoint'
    return holders?.code.has(node) ? 'code' : undefined
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
    this.#take(key, node)
    const holders = this.#byRevision.get(key) ?? { checkpoint: new Set(), code: new Set() }
    this.#byRevision.set(key, holders)
    holders[held].add(node)
    const keys = this.#byNode.get(node) ?? new Set<string>()
    this.#byNode.set(node, keys.add(key))
  }

  #take(key: string, node: Node): void {
    const holders = this.#byRevision.get(key)
    if (!holders) return
    holders.checkpoint.delete(node)
    holders.code.delete(node)
    if (holders.checkpoint.size + holders.code.size === 0) this.#byRevision.delete(key)
    this.#byNode.get(node)?.delete(key)
  }
}
