/** Whom a machine tells its token: a gateway whose certificate comes from the authority that the token names. */
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, type DetailedPeerCertificate } from 'node:tls'

const connectMs = 10_000

/** Each once; a root is its own issuer. */
const chainOf = (leaf: DetailedPeerCertificate): Buffer[] => {
  const chain: Buffer[] = []
  for (
    let at: DetailedPeerCertificate | undefined = leaf;
    at?.raw && !chain.some((known) => known.equals(at?.raw ?? Buffer.alloc(0)));
    at = at.issuerCertificate
  )
    chain.push(at.raw)
  return chain
}

/**
 * Says nothing to the gateway; what it shows counts only for finding the authority, by which every later connection is judged.
 *
 * @param digest SHA-256 of the authority's DER @returns the authority (PEM) @throws Error when the gateway shows another
 */
export const authorityOf = async (url: string, digest: string): Promise<string> => {
  const { hostname, port } = new URL(url)
  const host = hostname.replaceAll(/[[\]]/g, '')
  const socket = connect({ host, port: Number(port), servername: 'gateway', rejectUnauthorized: false })
  socket.setTimeout(connectMs, () => socket.destroy(new Error(`${url} does not answer within ${connectMs} ms`)))
  try {
    await once(socket, 'secureConnect')
    const found = chainOf(socket.getPeerCertificate(true)).find(
      (raw) => createHash('sha256').update(raw).digest('hex') === digest,
    )
    if (!found) throw new Error(`${url} does not come from the authority that the token names: it gets no token`)
    return new X509Certificate(found).toString()
  } finally {
    socket.destroy()
  }
}
