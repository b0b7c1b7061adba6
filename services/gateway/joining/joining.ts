/** Machines become nodes, stay it, and are nodes no longer (`docs/decisions/0072-joined-nodes.md`). */
import { X509Certificate } from 'node:crypto'
import type { KV } from '@nats-io/kv'
import { isBearer } from '../../chassis/bearer.ts'
import type { JoinedNodes } from '../../chassis/joined-nodes.ts'
import type { Logger } from '../../chassis/log.ts'
import { isConflict } from '../../chassis/nats.ts'
import { publicKeyOf, type Signer } from '../../chassis/signing.ts'
import { PlatformError } from '../../contracts/errors.ts'
import {
  certificateDigest,
  derivedToken,
  isJoinedId,
  joinedNodeId,
  joinTokenText,
  nodeBearer,
  type JoinedConfig,
  type JoinedNode,
  type JoinRequest,
  type RefreshRequest,
} from '../../contracts/joining.ts'
import { joinedNodeKey } from '../../contracts/subjects.ts'
import type { GatewayConfig } from '../config.ts'
import type { SchedulerClient } from '../scheduler-client.ts'
import { createJoinTokens, type TokenWish } from './join-tokens.ts'

export interface JoiningDeps {
  readonly config: GatewayConfig
  /** Bucket `nodes`. */
  readonly kv: KV
  readonly signer: Signer
  readonly joined: Pick<JoinedNodes, 'all' | 'get' | 'byUrl' | 'confirm'>
  readonly scheduler: Pick<SchedulerClient, 'nodes' | 'tellNode'>
  readonly logger: Logger
}

export interface Joining {
  /** @returns the text that a machine shows, and when it is over: epoch milliseconds */
  makeToken(wish: TokenWish): Promise<{ tokenId: string; token: string; expiresAt: number }>
  /** @throws PlatformError FORBIDDEN; INVALID_REQUEST; ALREADY_EXISTS; UNAVAILABLE */
  join(request: JoinRequest): Promise<JoinedConfig>
  /** @param shown `authorization` of the node @throws PlatformError FORBIDDEN for one that was removed */
  refresh(shown: string | undefined, request: RefreshRequest): Promise<JoinedConfig>
  /** From memory. @param shown `authorization` of a caller */
  isNode(shown: string | undefined): boolean
  nodes(): JoinedNode[]
  /** What it has is ended if it can be told; from then on nobody deals with it. @throws PlatformError NOT_FOUND */
  remove(nodeId: string): Promise<void>
  /** After a rotation of the key. */
  signAnew(): Promise<void>
}

const forbidden = () => new PlatformError('FORBIDDEN', 'this node has not joined, or was removed')

/** Of an `authorization` header, whatever it says. */
const nodeIdOf = (shown: string | undefined): string => /^Bearer ([A-Za-z0-9-_]{1,64})\./.exec(shown ?? '')?.[1] ?? ''

const wrongCertificate = (why: string) => new PlatformError('INVALID_REQUEST', `certificate: ${why}`)

/** @throws PlatformError INVALID_REQUEST */
const checkCertificate = (pem: string, now: number): void => {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(pem)
  } catch {
    throw wrongCertificate('it is none')
  }
  if (!(Date.parse(certificate.validFrom) <= now + 60_000 && now < Date.parse(certificate.validTo)))
    throw wrongCertificate('it is not valid now')
  if (certificate.checkHost('node-agent') === undefined) throw wrongCertificate('it is not for the name node-agent')
}

/** @returns undefined where the configuration lets nobody join */
export const createJoining = (deps: JoiningDeps): Joining | undefined => {
  const { config, kv, signer, joined, scheduler, logger } = deps
  const { joining: settings, calls } = config
  if (!settings || !calls) return undefined
  const tokens = createJoinTokens(kv, signer)
  const authority = calls.tls?.ca

  const configOf = ({ nodeId, pool, labels }: JoinedNode): JoinedConfig => ({
    nodeId,
    agent: {
      ...settings.agent,
      nodeId,
      pool,
      labels,
      internalToken: derivedToken(config.nodeToken, nodeId),
      schedulerToken: derivedToken(settings.schedulerNodeToken, nodeId),
      callToken: nodeBearer(calls.token, nodeId),
      nats: { ...settings.nats, user: nodeId, password: derivedToken(settings.issuerSeed, nodeId) },
      environmentKeys: config.sealing.environment,
      verifyingKeys: config.signing.map(({ id, seed }) => ({ id, key: publicKeyOf(seed) })),
      joined: {
        urls: settings.urls,
        controlAddresses: settings.controlAddresses,
        ...(authority === undefined ? {} : { authority }),
      },
    },
  })

  /** @throws PlatformError INVALID_REQUEST, ALREADY_EXISTS */
  const checkRequest = async ({ url, certificate }: JoinRequest, nodeId: string): Promise<void> => {
    if (nodeId.length > 64) throw new PlatformError('INVALID_REQUEST', `name: ${nodeId} has more than 64 characters`)
    const secure = authority !== undefined
    // Another spelling of an address would be another address to whoever compares.
    if (!URL.canParse(url) || new URL(url).origin !== url)
      throw new PlatformError('INVALID_REQUEST', `url: ${url} is not written as https://192.0.2.1:9002 is`)
    if (new URL(url).protocol !== (secure ? 'https:' : 'http:'))
      throw new PlatformError('INVALID_REQUEST', `url: nodes here listen ${secure ? 'with' : 'without'} TLS`)
    if ((certificate !== undefined) !== secure)
      throw new PlatformError('INVALID_REQUEST', `certificate: ${secure ? 'it is missing' : 'there is no TLS here'}`)
    if (certificate !== undefined) checkCertificate(certificate, Date.now())
    if ((await kv.get(joinedNodeKey(nodeId)))?.operation === 'PUT')
      throw new PlatformError('ALREADY_EXISTS', `there is a node ${nodeId}: take another name, or remove it first`)
    const known = await scheduler.nodes()
    const there = joined.byUrl(url)?.nodeId ?? known.find((node) => node.url === url)?.nodeId
    if (there !== undefined) throw new PlatformError('ALREADY_EXISTS', `node ${there} is at ${url}`)
  }

  const write = async (node: JoinedNode, revision: number | undefined): Promise<void> => {
    const key = joinedNodeKey(node.nodeId)
    const text = JSON.stringify(signer.sign(key, node))
    await (revision === undefined ? kv.create(key, text) : kv.update(key, text, revision))
    await joined.confirm(node.nodeId)
  }

  /** @throws SignatureError for a record that no gateway of this installation wrote */
  const read = async (nodeId: string): Promise<{ node: JoinedNode; revision: number } | undefined> => {
    const entry = await kv.get(joinedNodeKey(nodeId))
    if (entry?.operation !== 'PUT') return undefined
    return { node: signer.check(entry.key, entry.json<JoinedNode>()), revision: entry.revision }
  }

  return {
    makeToken: async (wish) => {
      const { tokenId, secret, expiresAt } = await tokens.make(wish)
      const content = {
        tokenId,
        secret,
        urls: settings.urls,
        ...(authority === undefined ? {} : { authority: certificateDigest(authority) }),
      }
      return { tokenId, token: joinTokenText(content), expiresAt }
    },
    join: async (request) => {
      const token = await tokens.check(request)
      const nodeId = joinedNodeId(settings.installation, request.name)
      await checkRequest(request, nodeId)
      await token.use()
      const { tokenId, by, pool, labels } = token.record
      const { url, certificate } = request
      const certificates = certificate === undefined ? [] : [certificate]
      const node = { nodeId, url, pool, labels, certificates, joinedAt: new Date().toISOString(), by, tokenId }
      try {
        await write(node, undefined)
      } catch (error) {
        if (isConflict(error)) throw new PlatformError('ALREADY_EXISTS', `there is a node ${nodeId}`)
        throw error
      }
      logger.info({ nodeId, url, by, tokenId }, 'a node has joined')
      return configOf(node)
    },
    refresh: async (shown, { certificate }) => {
      const nodeId = nodeIdOf(shown)
      if (!isJoinedId(nodeId) || !isBearer(shown, nodeBearer(calls.token, nodeId))) throw forbidden()
      const found = await read(nodeId)
      if (!found) throw forbidden()
      const { node, revision } = found
      if (certificate === undefined || certificate === node.certificates[0]) return configOf(node)
      if (authority === undefined) throw new PlatformError('INVALID_REQUEST', 'certificate: there is no TLS here')
      checkCertificate(certificate, Date.now())
      const certificates = [certificate, ...node.certificates.slice(0, 1)]
      try {
        await write({ ...node, certificates }, revision)
      } catch (error) {
        if (isConflict(error)) throw new PlatformError('UNAVAILABLE', `the record of ${nodeId} is being changed`)
        throw error
      }
      return configOf(node)
    },
    isNode: (shown) => {
      const nodeId = nodeIdOf(shown)
      return joined.get(nodeId) !== undefined && isBearer(shown, nodeBearer(calls.token, nodeId))
    },
    nodes: () => joined.all(),
    remove: async (nodeId) => {
      const entry = await kv.get(joinedNodeKey(nodeId))
      if (entry?.operation !== 'PUT') throw new PlatformError('NOT_FOUND', `no node ${nodeId} has joined`)
      await scheduler
        .tellNode(nodeId, 'drain', 'removed')
        .catch((err: unknown) => logger.warn({ err, nodeId }, 'a node that is removed was not drained'))
      await kv.delete(entry.key)
      await joined.confirm(nodeId)
      logger.info({ nodeId }, 'a node that had joined is removed')
    },
    signAnew: async () => {
      for await (const entry of await kv.history({ key: joinedNodeKey('*') })) {
        if (entry.operation !== 'PUT') continue
        try {
          const node = entry.json<JoinedNode>()
          if (!signer.isOld(node)) continue
          await write(signer.check(entry.key, node), entry.revision)
        } catch (err) {
          // Somebody else changed it, and signed it with that; or it is nobody's, and stays refused.
          logger.warn({ err, key: entry.key }, 'the record of a node was not signed anew')
        }
      }
    },
  }
}
