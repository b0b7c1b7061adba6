/** The addon of `native`, typed. Built by `native/build.ts`; its path is in the agent's configuration. */
import { createRequire } from 'node:module'

export interface HostCalls extends NetworkCalls, TraceCalls {
  /** `[readFd, writeFd]`; the read end is non-blocking. The caller closes both. */
  pipe(): [number, number]
  /** Connects, sends `message` with `fds` attached, returns the connected descriptor, which the caller closes. */
  connectAndSend(socketPath: string, message: Buffer, fds: readonly number[]): number
  /**
   * Runs a program inside control groups from its first instruction: it writes `0` to each of `joinFiles` first. Empty environment,
   * no input. Resolves its wait status (as wait(2) encodes it). @throws Error when it could not be started. Two at a time use the
   * threads that file operations need too.
   */
  run(argv: readonly string[], joinFiles: readonly string[], stdout: number, stderr: number): Promise<number>
}

/** A ring buffer of the kernel, mapped. */
declare const ringBrand: unique symbol
export interface Ring {
  readonly [ringBrand]: true
}

export interface NetworkCalls {
  /** A new network namespace, kept by a mount on the file, which is made. Unmounting it lets it go. */
  makeNetns(path: string): void
  /**
   * Brings the interface of the namespace up; a raw packet socket bound to it, as gVisor wants it: whoever has it is the other end. The
   * caller closes it.
   */
  packetSocket(netns: string, interfaceName: string): number
  /** Descriptor of a pinned map. The caller closes it. */
  bpfOpen(path: string): number
  bpfUpdate(fd: number, count: number, keys: Buffer, values: Buffer): void
  /** A slot's own table of flows, in the pinned map of tables; it goes with its entry. */
  addFlowTable(fd: number, ifindex: number): void
  /** What is not there does not matter. */
  bpfDelete(fd: number, count: number, keys: Buffer): void
  /** Fills `value`; false when there is no entry. */
  bpfLookup(fd: number, key: Buffer, value: Buffer): boolean
  /** @param bytes size of the map */
  ringOpen(fd: number, bytes: number): Ring
  /** Takes whole records for as long as they fit; returns their bytes. */
  ringRead(ring: Ring, into: Buffer): number
  /** Loads the eBPF filter that was compiled with the addon; its maps and programs are pinned in the directory, by their names. */
  loadFilter(directory: string): Promise<void>
}

/** What sandboxes' kernels tell of system calls, read without waiting. */
export interface TraceCalls {
  /** Where all sockets are read. The caller closes it. */
  traceOpen(): number
  /** `[ours, theirs]`: ours is read at the place until the caller closes it. The caller closes both. */
  tracePair(place: number): [number, number]
  /**
   * Takes messages for as long as they fit, of each sandbox no more than 128; returns their bytes. Before each are the descriptor and its
   * length, 4 bytes each, little-endian; length 0: the sandbox is gone.
   */
  traceRead(place: number, into: Buffer): number
}

export const loadHostCalls = (addonPath: string): HostCalls => createRequire(import.meta.url)(addonPath) as HostCalls
