/**
 * Where the node's proxy may connect for a function. It runs on the host, so the filter of sandboxes does not hold for it: what no rule opens
 * for a sandbox, no binding opens either, whatever its name resolves to at the moment of the connection.
 */
import { lookup as resolve, type LookupAddress } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { parseCidr } from '../../contracts/network.ts'
import { covers } from '../network/addresses.ts'
import type { Guard } from '../network/map-encoding.ts'

/** The address is not for functions. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
  readonly code = 'FORKYARD_UNREACHABLE'
}

/** @param named the address itself is in the binding; a name that resolves to the host's own opens nothing */
export const isReachable = (guards: readonly Guard[], address: string, port: number, named: boolean): boolean => {
  const parsed = parseCidr(address)
  if (!parsed) return false
  const held = guards.filter((guard) => covers(guard, parsed))
  return held.every(({ kind, ports = [] }) => kind === 'exact' && named && !ports.includes(port))
}

export class Reach {
  readonly #guards: () => readonly Guard[]

  /** @param guards of this moment */
  constructor(guards: () => readonly Guard[]) {
    this.#guards = guards
  }

  /** Names are judged when they are resolved, by `lookup`. @throws UnreachableError */
  check(hostname: string, port: number): void {
    const host = hostname.replaceAll(/[[\]]/g, '')
    if (isIP(host) > 0 && !isReachable(this.#guards(), host, port, true))
      throw new UnreachableError(`${host} is not to be reached by functions`)
  }

  /** One that may be connected to as it is. @throws UnreachableError; what DNS says */
  addressOf(hostname: string, port: number): Promise<string> {
    this.check(hostname, port)
    if (isIP(hostname) > 0) return Promise.resolve(hostname)
    return new Promise((done, failed) => {
      this.lookup(port)(hostname, {}, (error, address) =>
        error || typeof address !== 'string' ? failed(error) : done(address),
      )
    })
  }

  /** For sockets: only addresses that may be reached come out. */
  lookup(port: number): LookupFunction {
    return (hostname, options, callback) => {
      resolve(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
        const open = error ? [] : found.filter(({ address }) => isReachable(this.#guards(), address, port, false))
        const [first] = open
        if (!first)
          return callback(error ?? new UnreachableError(`${hostname} leads nowhere that functions may go`), '')
        if (options.all) return callback(null, open)
        return callback(null, first.address, first.family)
      })
    }
  }
}
