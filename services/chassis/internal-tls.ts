/**
 * TLS of the hops between services on different machines. A service proves itself by a certificate of the installation's own authority that
 * names what it is (`gateway`, `scheduler`, `node-agent`), whatever its address; a caller proves itself by the installation's token.
 */
import type { FastifyServerOptions } from 'fastify'
import { Type, type Static } from 'typebox'
import type { Pool } from 'undici'

/** PEM texts. */
export const ServiceTls = Type.Object(
  { ca: Type.String(), cert: Type.String(), key: Type.String() },
  { additionalProperties: false },
)
export type ServiceTls = Static<typeof ServiceTls>

/** For a server; nothing where connections do not leave the machine. */
export const serverTls = (tls: ServiceTls | undefined): Partial<FastifyServerOptions> =>
  tls ? ({ https: { cert: tls.cert, key: tls.key, minVersion: 'TLSv1.3' } } as Partial<FastifyServerOptions>) : {}

/** How a service calls another one. */
export interface HopTrust {
  /** Bearer token. */
  readonly token: string
  /** What the other one's certificate must come from (PEM); undefined: no TLS. */
  readonly ca: string | undefined
}

/** What the one who is called must be. */
export type CalledService = 'gateway' | 'scheduler' | 'node-agent'

/** For a pool of connections to a service. @param ca the authority; absent: no TLS */
export const clientTls = (ca: string | undefined, name: CalledService, timeoutMs: number): Pool.Options =>
  ca === undefined ? { connectTimeout: timeoutMs } : { connect: { ca, servername: name, timeout: timeoutMs } }
