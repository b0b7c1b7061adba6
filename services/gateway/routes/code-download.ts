/** `Code.Location`: a presigned URL on this gateway from which the zip can be downloaded for ten minutes. */
import { Sha256Node } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { functionArn, type VersionConfig } from '../../contracts/function.ts'
import type { GatewayDeps } from '../deps.ts'
import { sendStream } from '../invoke/send-stream.ts'
import { findRecord, unqualified } from '../lookup.ts'
import type { AccessKey } from '../sigv4.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named } from './views.ts'

const validSeconds = 600

/** Signed with the caller's own key: it gives nobody more than the caller has. */
export const codeLocation = async (
  { config }: Pick<GatewayDeps, 'config'>,
  { accessKeyId, secretAccessKey, tenant: own }: AccessKey,
  { tenant, name, zipDigest }: VersionConfig,
): Promise<string> => {
  const base = new URL(config.publicUrl)
  const signer = new SignatureV4({
    service: 'lambda',
    region: config.region,
    credentials: { accessKeyId, secretAccessKey },
    sha256: Sha256Node,
    applyChecksum: false,
  })
  const path = `/forkyard/v1/functions/${tenant === own ? name : functionArn(config.region, tenant, name)}/code`
  const signed = await signer.presign(
    {
      method: 'GET',
      protocol: base.protocol,
      hostname: base.hostname,
      path,
      query: { digest: zipDigest },
      headers: { host: base.host },
    },
    { expiresIn: validSeconds },
  )
  const url = new URL(path, base)
  for (const [key, value] of Object.entries(signed.query ?? {})) url.searchParams.set(key, String(value))
  return url.href
}

export const codeOperations = (deps: GatewayDeps): AnyOperation[] => [
  operation({
    id: 'DownloadCode',
    summary: 'The zip of a function or of one of its versions',
    method: 'GET',
    url: '/forkyard/v1/functions/:FunctionName/code',
    params: Named,
    query: Type.Object({ digest: Type.String({ pattern: '^[0-9a-f]{64}$' }) }),
    status: 200,
    reply: Type.String({ format: 'binary' }),
    replyType: 'application/zip',
    errors: ['CODE_CORRUPT'],
    handle: async ({ caller, params, query: { digest }, reply }) => {
      const target = unqualified(deps, caller.tenant, params.FunctionName)
      const record = await findRecord(deps.registry, target)
      const { tenant, name } = record
      const numbers = record.versions.map((number) => deps.registry.version(tenant, name, number))
      // Only code of the caller's own function, whoever else may have uploaded the same bytes.
      const config = [record.latest, ...numbers].find((each) => each?.zipDigest === digest)
      if (!config) throw new PlatformError('NOT_FOUND', `No version of ${name} has this code`)
      const zip = await deps.code.openZip(digest)
      reply.hijack()
      await sendStream(reply.raw, {
        status: 200,
        headers: {
          'content-type': 'application/zip',
          'content-length': String(config.codeSize),
          'content-disposition': `attachment; filename="${name}.zip"`,
        },
        body: zip,
        stalledMs: deps.config.limits.stalledMs,
      })
      return reply
    },
  }),
]
