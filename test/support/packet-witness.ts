/** Counts what the filter lets through on an interface: nftables' own hook comes right after it. */
import { execFileSync } from 'node:child_process'

export interface PacketWitness {
  /** Packets so far. */
  passed(): number
  close(): void
}

interface Listing {
  readonly nftables: readonly { readonly rule?: { readonly expr: readonly { counter?: { packets: number } }[] } }[]
}

const tableOf = (device: string): string => `fywitness_${device.replaceAll(/[^a-z0-9]/g, '_')}`

/** @param device the host's end of a slot: seen is what the sandbox sends. */
export const watchPackets = (device: string): PacketWitness => {
  const table = `netdev ${tableOf(device)}`
  const rules = `table ${table}
delete table ${table}
table ${table} {
  chain passed {
    type filter hook ingress device "${device}" priority 0; policy accept;
    counter
  }
}
`
  execFileSync('nft', ['-f', '-'], { input: rules })
  return {
    passed: () => {
      const text = execFileSync('nft', ['-j', 'list', 'table', ...table.split(' ')], { encoding: 'utf8' })
      const counters = (JSON.parse(text) as Listing).nftables.flatMap(({ rule }) => rule?.expr ?? [])
      return counters.find(({ counter }) => counter)?.counter?.packets ?? 0
    },
    close: () => void execFileSync('nft', ['delete', 'table', ...table.split(' ')]),
  }
}
