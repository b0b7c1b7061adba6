/** Tells the schedulers for which revisions this node has files: all of it at the beginning, when asked and once a minute, between that what changes. */
import { headers, type NatsConnection } from '@nats-io/transport-node'
import { subscribeLastingly } from '../../chassis/lasting-subscription.ts'
import { maxRevisionsTold, type NodeFiles } from '../../contracts/code-images.ts'
import { protocolHeader, protocolVersion } from '../../contracts/protocol.ts'
import { subjects } from '../../contracts/subjects.ts'

export interface FilesReporterDeps {
  readonly connection: Pick<NatsConnection, 'publish' | 'subscribe' | 'isClosed'>
  readonly nodeId: string
  /** Keys of revisions. */
  readonly checkpoints: () => readonly string[]
  readonly code: () => readonly string[]
}

const lookEveryMs = 1_000
/** Of the looks, every so many tells all. */
const allEvery = 60

type Kind = 'checkpoints' | 'code'

const spoken = headers()
spoken.set(protocolHeader, String(protocolVersion))

export class FilesReporter {
  readonly #deps: FilesReporterDeps
  readonly #ends: (() => void)[] = []
  #told = new Map<string, Kind>()
  #looks = 0
  #asked = false

  constructor(deps: FilesReporterDeps) {
    this.#deps = deps
  }

  /** To be called after the node was reported: schedulers keep nothing of a node that they do not know. */
  start(): void {
    const { connection, nodeId } = this.#deps
    const timer = setInterval(() => this.#look(), lookEveryMs)
    this.#ends.push(
      () => clearInterval(timer),
      ...[subjects.reportNow, subjects.nodeReportNow(nodeId)].map((subject) =>
        // With the next look: many may ask at once.
        subscribeLastingly(connection, subject, () => void (this.#asked = true)),
      ),
    )
    this.#tellAll()
  }

  stop(): void {
    for (const end of this.#ends.splice(0)) end()
  }

  #look(): void {
    if (++this.#looks % allEvery === 0 || this.#asked) return this.#tellAll()
    const before = this.#told
    this.#told = this.#now()
    const changed = [...this.#told].filter(([key, kind]) => before.get(key) !== kind)
    const gone = [...before.keys()].filter((key) => !this.#told.has(key))
    if (changed.length > 0 || gone.length > 0) this.#publish(false, changed, gone)
  }

  #tellAll(): void {
    this.#asked = false
    this.#told = this.#now()
    this.#publish(true, [...this.#told], [])
  }

  #now(): Map<string, Kind> {
    const { code, checkpoints } = this.#deps
    const all: [string, Kind][] = [
      ...code().map((key): [string, Kind] => [key, 'code']),
      ...checkpoints().map((key): [string, Kind] => [key, 'checkpoints']),
    ]
    return new Map(all.slice(-maxRevisionsTold))
  }

  #publish(all: boolean, held: readonly (readonly [string, Kind])[], gone: string[]): void {
    const { connection, nodeId } = this.#deps
    if (connection.isClosed()) return
    const keys = (wanted: Kind) => held.filter(([, kind]) => kind === wanted).map(([key]) => key)
    const files: NodeFiles = { nodeId, all, checkpoints: keys('checkpoints'), code: keys('code'), gone }
    connection.publish(subjects.nodeFiles(nodeId), JSON.stringify(files), { headers: spoken })
  }
}
