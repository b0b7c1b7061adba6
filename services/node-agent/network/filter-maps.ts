/** The filter in the kernel: loaded and pinned, its maps opened. A file system for pins of the agent's own goes with its directory. */
import { execFile } from 'node:child_process'
import { closeSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { NetworkCalls, Ring } from '../sandbox/host-calls.ts'
import {
  bucketEntries,
  eventBytes,
  mapBytes,
  readEvent,
  slotKey,
  type Entries,
  type FlowEvent,
} from './map-encoding.ts'

const run = promisify(execFile)

const mapNames = ['slots', 'rules', 'ports', 'pins', 'guarded', 'settings', 'buckets', 'flows', 'counts'] as const
export type MapName = (typeof mapNames)[number]

/** Index in the map `counts`. */
const countIndex = { lostEvents: 0, linkLayer: 1 } as const

export class FilterMaps {
  readonly #calls: NetworkCalls
  readonly #fds: Readonly<Record<MapName, number>>
  readonly #ring: Ring
  readonly #events = Buffer.alloc(eventBytes * 4096)

  private constructor(calls: NetworkCalls, directory: string) {
    this.#calls = calls
    const open = (name: string): number => calls.bpfOpen(join(directory, name))
    this.#fds = Object.fromEntries(mapNames.map((name) => [name, open(name)])) as Record<MapName, number>
    const events = open('events')
    this.#ring = calls.ringOpen(events, mapBytes.events)
    closeSync(events)
  }

  /**
   * Anew: whatever an earlier run of the agent has pinned goes. What it has attached goes with its interfaces.
   * @throws Error with the kernel's words when it takes no such program.
   */
  static async load(calls: NetworkCalls, runDir: string): Promise<FilterMaps> {
    const directory = pinDirectory(runDir)
    await unpin(runDir)
    mkdirSync(directory, { recursive: true })
    await run('mount', ['-t', 'bpf', '-o', 'mode=0700', 'bpf', directory])
    await calls.loadFilter(directory)
    return new FilterMaps(calls, directory)
  }

  update(map: MapName, { count, keys, values }: Entries): void {
    this.#calls.bpfUpdate(this.#fds[map], count, keys, values)
  }

  /** What one slot has of its own: flows, and limits. */
  addSlot(ifindex: number): void {
    this.#calls.addFlowTable(this.#fds.flows, ifindex)
    this.update('buckets', bucketEntries(ifindex))
  }

  /** From here on nothing passes on the interface. */
  removeSlot(ifindex: number): void {
    this.delete('slots', { count: 1, keys: slotKey(ifindex) })
    this.delete('flows', { count: 1, keys: slotKey(ifindex) })
    this.delete('buckets', bucketEntries(ifindex))
  }

  delete(map: MapName, { count, keys }: Pick<Entries, 'count' | 'keys'>): void {
    this.#calls.bpfDelete(this.#fds[map], count, keys)
  }

  /** What has happened since the last call, at most some thousands. */
  readEvents(): FlowEvent[] {
    const bytes = this.#calls.ringRead(this.#ring, this.#events)
    return Array.from({ length: bytes / eventBytes }, (_, at) =>
      readEvent(Buffer.from(this.#events.subarray(at * eventBytes, (at + 1) * eventBytes))),
    )
  }

  count(name: keyof typeof countIndex): number {
    const key = Buffer.alloc(4)
    key.writeUInt32LE(countIndex[name])
    const value = Buffer.alloc(8)
    this.#calls.bpfLookup(this.#fds.counts, key, value)
    return Number(value.readBigUInt64LE())
  }

  close(): void {
    for (const fd of Object.values(this.#fds)) closeSync(fd)
  }
}

export const pinDirectory = (runDir: string): string => join(runDir, 'bpf')
export const programPin = (runDir: string, program: 'from_sandbox' | 'to_sandbox'): string =>
  join(pinDirectory(runDir), program)

/** Idempotent. */
export const unpin = async (runDir: string): Promise<void> => {
  const directory = pinDirectory(runDir)
  // A run that was killed may have mounted it twice.
  while (existsSync(join(directory, 'from_sandbox')) || existsSync(join(directory, 'slots')))
    await run('umount', ['-l', directory])
}
