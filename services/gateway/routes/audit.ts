/** What a function did on the network, one JSON record a line. */
import { AuditRecord } from '../../contracts/audit.ts'
import type { GatewayDeps } from '../deps.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { operation, type AnyOperation } from './operation.ts'
import { RecordQuery, recordSender } from './record-stream.ts'
import { Named } from './views.ts'

export const auditOperations = (deps: GatewayDeps): AnyOperation[] => {
  const send = recordSender(deps, deps.audit, 'the audit')
  return [
    operation({
      id: 'GetAudit',
      summary: 'What the function did on the network since a time, oldest first; with follow=true also what is to come',
      method: 'GET',
      url: '/forkyard/v1/functions/:FunctionName/audit',
      params: Named,
      query: RecordQuery,
      status: 200,
      reply: AuditRecord,
      replyType: 'application/x-ndjson',
      handle: async ({ caller, params, query, reply }) =>
        send(await findRecord(deps.registry, unqualified(deps, caller.tenant, params.FunctionName)), query, reply),
    }),
  ]
}
