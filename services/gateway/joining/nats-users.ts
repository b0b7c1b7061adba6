/**
 * Who joined nodes are in NATS: a server that is asked for a user that its configuration does not know asks a gateway (NATS' auth callout). One that
 * is removed is refused at its next connection, and has none for longer than an hour.
 */
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { equalSecrets } from '../../chassis/equal-secrets.ts'
import type { Logger } from '../../chassis/log.ts'
import type { JoinedNodes } from '../../chassis/joined-nodes.ts'
import { claimsOf, createNatsIssuer } from '../../chassis/nats-issuer.ts'
import { derivedToken, isJoinedId } from '../../contracts/joining.ts'
import { joinedNodePermissions, userQuestions } from '../../contracts/nats-permissions.ts'

/** The server ends the connection then, and the node makes another. */
const userMs = 3_600_000
/** Of all that are not the configuration's own. */
const account = '$G'

const Question = Compile(
  Type.Object({
    nats: Type.Object({
      server_id: Type.Object({ id: Type.String() }),
      user_nkey: Type.String(),
      connect_opts: Type.Object({ user: Type.Optional(Type.String()), pass: Type.Optional(Type.String()) }),
    }),
  }),
)

export interface NatsUsersDeps {
  readonly connection: Pick<NatsConnection, 'subscribe'>
  readonly joined: Pick<JoinedNodes, 'confirm'>
  /** See `GatewayConfig.joining`. */
  readonly issuerSeed: string
  readonly logger: Logger
  /** For tests. */
  readonly livesMs?: number
}

/** @returns ends it */
export const answerForNatsUsers = ({ connection, joined, issuerSeed, logger, livesMs = userMs }: NatsUsersDeps) => {
  const issuer = createNatsIssuer(issuerSeed)
  const isNode = async (user: string, pass: string): Promise<boolean> => {
    if (!isJoinedId(user) || !equalSecrets(pass, derivedToken(issuerSeed, user))) return false
    return (await joined.confirm(user)) !== undefined
  }
  const answer = async (text: string): Promise<string | undefined> => {
    const question = claimsOf(text)
    if (!Question.Check(question)) return undefined
    const { server_id: server, user_nkey: sub, connect_opts: said } = question.nats
    const { user = '', pass = '' } = said
    const known = await isNode(user, pass).catch((err: unknown) => {
      logger.error({ err, user }, 'whether a node may connect to NATS cannot be found out')
      return false
    })
    if (!known) logger.warn({ user }, 'nobody that may connect to NATS')
    const { publish: pub, subscribe } = joinedNodePermissions(user)
    const unbounded = { subs: -1, data: -1, payload: -1, type: 'user', version: 2 }
    const exp = Math.floor((Date.now() + livesMs) / 1000)
    const outcome = known
      ? { jwt: issuer.issue({ sub, aud: account, exp, name: user, nats: { pub, sub: subscribe, ...unbounded } }) }
      : { error: 'this node has not joined' }
    return issuer.issue({ sub, aud: server.id, nats: { ...outcome, type: 'authorization_response', version: 2 } })
  }
  const tell = async (message: Msg): Promise<void> => {
    const text = await answer(message.string())
    if (text !== undefined) message.respond(text)
  }
  const subscription = connection.subscribe(userQuestions, {
    queue: 'gateways',
    callback: (error, message) => {
      if (error) return logger.error({ err: error }, 'who joined nodes are in NATS: the subscription failed')
      void tell(message)
    },
  })
  return () => subscription.unsubscribe()
}
