import { Counter, Gauge, type Registry } from 'prom-client'

export const createCodeImageMetrics = (registry: Registry) => {
  const registers = [registry]
  return {
    uses: new Counter({
      name: 'forkyard_node_code_image_uses_total',
      help: 'Code images that were needed, by where they were: here, peer (another node), store',
      labelNames: ['source'] as const,
      registers,
    }),
    bytes: new Counter({
      name: 'forkyard_node_code_image_bytes_total',
      help: 'Bytes of code images that were fetched, by source: peer, store',
      labelNames: ['source'] as const,
      registers,
    }),
    images: new Gauge({ name: 'forkyard_node_code_images', help: 'Code images on the node', registers }),
    heldBytes: new Gauge({ name: 'forkyard_node_code_image_held_bytes', help: 'Disk that they take', registers }),
    peers: new Gauge({
      name: 'forkyard_node_code_image_peers',
      help: 'Other nodes that this one knows, of which it asks some',
      registers,
    }),
    peerFailures: new Counter({
      name: 'forkyard_node_code_image_peer_failures_total',
      help: 'Copies from other nodes that failed, by how: silent, broken, wrong (not what was asked for)',
      labelNames: ['failure'] as const,
      registers,
    }),
    sent: new Counter({
      name: 'forkyard_node_code_images_sent_total',
      help: 'Code images that other nodes asked for, by answer: sent, missing, busy',
      labelNames: ['answer'] as const,
      registers,
    }),
    prefetches: new Counter({
      name: 'forkyard_node_code_image_prefetches_total',
      help: 'Code images of new deployments, by outcome: here, fetched, no-room, missing, failed',
      labelNames: ['outcome'] as const,
      registers,
    }),
  }
}

export type CodeImageMetrics = ReturnType<typeof createCodeImageMetrics>
