/** The log of a function, one JSON record a line. */
import { LogRecord } from '../../contracts/usage.ts'
import type { GatewayDeps } from '../deps.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { operation, type AnyOperation } from './operation.ts'
import { RecordQuery, recordSender } from './record-stream.ts'
import { Named } from './views.ts'

export const logOperations = (deps: GatewayDeps): AnyOperation[] => {
  const send = recordSender(deps, deps.logs, 'logs')
  return [
    operation({
      id: 'GetLogs',
      summary: 'Log records since a time, oldest first; with follow=true also those to come',
      method: 'GET',
      url: '/forkyard/v1/functions/:FunctionName/logs',
      params: Named,
      query: RecordQuery,
      status: 200,
      reply: LogRecord,
      replyType: 'application/x-ndjson',
      handle: async ({ caller, params, query, reply }) =>
        send(await findRecord(deps.registry, unqualified(deps, caller.tenant, params.FunctionName)), query, reply),
    }),
  ]
}
