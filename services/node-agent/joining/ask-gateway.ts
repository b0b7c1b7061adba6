/** Hop out to the gateways of a machine that joins, and of a node that has joined. */
import { Compile } from 'typebox/compile'
import { Agent } from 'undici'
import { clientTls } from '../../chassis/internal-tls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { hopHeader, JoinedConfig } from '../../contracts/joining.ts'
import { protocolHeaders } from '../../contracts/protocol.ts'

const connectMs = 5_000
const answerMs = 20_000
const schema = Compile(JoinedConfig)

export interface NodeQuestion {
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: unknown
}

/**
 * @param ca issuer of the gateway's certificate (PEM); undefined: no TLS
 * @throws PlatformError what the gateway answered; UNAVAILABLE when it does not
 */
export const askGateway = async (
  url: string,
  ca: string | undefined,
  question: NodeQuestion,
): Promise<JoinedConfig> => {
  const { path, headers, body } = question
  const agent = new Agent({ ...clientTls(ca, 'gateway', connectMs) })
  try {
    const reply = await agent.request({
      origin: url,
      method: 'POST',
      path,
      headers: {
        ...protocolHeaders,
        [hopHeader.name]: hopHeader.value,
        'content-type': 'application/json',
        ...headers,
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(answerMs),
    })
    const said: unknown = await reply.body.json()
    if (reply.statusCode !== 200) throw PlatformError.fromBody(said)
    if (!schema.Check(said)) throw new PlatformError('INTERNAL', 'the gateway answered with something else')
    return said
  } catch (cause) {
    if (cause instanceof PlatformError) throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PlatformError('UNAVAILABLE', `the gateway at ${url} does not answer: ${why}`, undefined, { cause })
  } finally {
    await agent.destroy()
  }
}
