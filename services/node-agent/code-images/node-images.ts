/** The code images of one node: where they lie, whom else they come from and go to, when they are fetched, and who is told. */
import { join } from 'node:path'
import type { Registry } from 'prom-client'
import type { Logger } from '../../chassis/log.ts'
import type { Store } from '../../chassis/nats.ts'
import type { Verifier } from '../../chassis/signing.ts'
import { poolFor } from '../../contracts/pool-assignment.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { FileDigests } from '../file-digests.ts'
import { announceNode } from './announce.ts'
import { createCodeImageMetrics } from './code-image-metrics.ts'
import { CodeImages } from './code-images.ts'
import { followDeployments } from './deployments.ts'
import { FilesReporter } from './files-reporter.ts'
import { PeerCopies } from './peer-copies.ts'
import { startPeerServer, type PeerServer } from './peer-server.ts'
import { homes, Peers } from './peers.ts'
import { Prefetcher, type PrefetcherDeps } from './prefetcher.ts'

export interface NodeImagesDeps {
  readonly config: NodeAgentConfig
  readonly store: Pick<Store, 'code' | 'functions' | 'connection'>
  readonly digests: FileDigests
  readonly verifier: Verifier
  readonly metrics: Registry
  readonly logger: Logger
  readonly quiet: PrefetcherDeps['quiet']
  /** Keys of revisions that have one on this node. */
  readonly checkpoints: () => readonly string[]
}

export interface NodeImages {
  readonly images: CodeImages
  /** To be called once the node is reported. @throws when the port for other nodes cannot be listened on */
  open(): Promise<void>
  /** Others are told that it leaves, and get nothing more; nothing is fetched ahead any more. */
  close(): Promise<void>
}

/** After a deployment the first of the nodes that others ask fetches at once, each next one so much later: then it may copy. */
const nextAfterMs = 250
/** The others spread their questions over so long. */
const spreadMs = 1_500

export const startCodeImages = (deps: NodeImagesDeps): NodeImages => {
  const { config, store, digests, verifier, logger, quiet, checkpoints } = deps
  const { nodeId, stateDir, tls } = config
  const metrics = createCodeImageMetrics(deps.metrics)
  const peers = new Peers(nodeId)
  const onFailure = (failure: string): void => metrics.peerFailures.inc({ failure })
  const copies = config.peers && new PeerCopies({ peers, token: config.peers.token, ca: tls?.ca, logger, onFailure })
  const images = new CodeImages({
    dir: join(stateDir, 'code'),
    store: store.code,
    digests,
    budgetBytes: config.codeImagesMiB * 1024 * 1024,
    peers: copies,
    metrics,
  })
  const prefetcher = new Prefetcher({ images, quiet, metrics, logger })
  const reporter = new FilesReporter({
    connection: store.connection,
    nodeId,
    checkpoints,
    code: () => images.revisions(),
  })
  const ends: (() => void)[] = []
  let server: PeerServer | undefined

  const onDeployment: Parameters<typeof followDeployments>[0]['onDeployment'] = (latest) => {
    if (!config.runtimes[latest.runtime]) return
    const { tenant } = latest
    if (poolFor(config.pools, { ...latest, revision: { tenant } }) !== config.pool) return
    const rank = Math.min(homes, peers.ownRank(latest.imageDigest))
    const delayMs = rank * nextAfterMs + (rank === homes ? Math.random() * spreadMs : 0)
    prefetcher.want(latest.imageDigest, latest, delayMs)
  }

  /** The next one who asks finds it here. */
  const onMissing = (digest: string): void => {
    if (config.prefetch && peers.ownRank(digest) < homes) prefetcher.want(digest)
  }

  return {
    images,
    open: async () => {
      reporter.start()
      ends.push(() => reporter.stop())
      if (config.prefetch) ends.push(followDeployments({ kv: store.functions, verifier, logger, onDeployment }))
      if (!config.peers) return
      server = await startPeerServer(config.peers, { images, onMissing, metrics, logger, tls })
      const own = { nodeId, url: server.url }
      ends.push(announceNode(store.connection, peers, own, (known) => metrics.peers.set(known)))
    },
    close: async () => {
      for (const end of ends.splice(0)) end()
      await Promise.all([server?.close(), prefetcher.close()])
      await copies?.close()
    },
  }
}
