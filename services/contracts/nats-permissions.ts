/** What each service may do in NATS: a user each, and for each the subjects that its work needs. The stack writes them into the server's configuration. */
import { buckets, streams, subjects } from './subjects.ts'

export const natsRoles = ['gateway', 'scheduler', 'node-agent'] as const
export type NatsRole = (typeof natsRoles)[number]

export interface NatsPermissions {
  readonly publish: { readonly allow: readonly string[]; readonly deny?: readonly string[] }
  readonly subscribe: { readonly allow: readonly string[] }
  /** Answers to what it hears, wherever these are wanted: so many, for so long. */
  readonly allow_responses?: { readonly max: number; readonly expires: string }
}

/** Answers go to subjects of the role's own: nobody reads those of others. */
export const inboxPrefix = (role: string): string => `_INBOX_${role}`
const inbox = (role: NatsRole): string => `${inboxPrefix(role)}.>`

/** Where a server asks who somebody is. */
export const userQuestions = '$SYS.REQ.USER.AUTH'

const api = '$JS.API'
const kv = (bucket: string): string => `KV_${bucket}`
const objects = (bucket: string): string => `OBJ_${bucket}`

/** To read a stream: what is in it, single messages, and consumers of one's own. */
const reading = (stream: string): string[] => [
  `${api}.STREAM.INFO.${stream}`,
  `${api}.STREAM.MSG.GET.${stream}`,
  `${api}.DIRECT.GET.${stream}`,
  `${api}.DIRECT.GET.${stream}.>`,
  `${api}.CONSUMER.CREATE.${stream}`,
  `${api}.CONSUMER.CREATE.${stream}.>`,
  `${api}.CONSUMER.INFO.${stream}.>`,
  `${api}.CONSUMER.MSG.NEXT.${stream}.>`,
  `${api}.CONSUMER.DELETE.${stream}.>`,
]

/** Records that nobody takes back. */
const kept = [streams.usage, streams.logs, streams.audit]

/**
 * Reads functions with their code and networks, and writes what it reports.
 *
 * @param user in NATS @param node whose reports it writes: its id, or `*`
 */
const nodePermissions = (user: string, node: string): NatsPermissions => ({
  publish: {
    allow: [
      `${api}.INFO`,
      '$JS.FC.>',
      ...reading(kv(buckets.functions)),
      ...reading(kv(buckets.network)),
      ...reading(objects(buckets.code)),
      'usage.>',
      'logs.>',
      'audit.>',
      subjects.nodeReport(node),
      subjects.nodeFiles(node),
    ],
  },
  subscribe: {
    allow: [`${inboxPrefix(user)}.>`, subjects.reportNow, subjects.nodeReportNow(node), subjects.gatewayHere],
  },
})

const everyNode = nodePermissions('node-agent', '*')

export const natsPermissions: Readonly<Record<NatsRole, NatsPermissions>> = {
  /** Makes streams and buckets, and writes all but what nodes report. */
  gateway: {
    publish: {
      allow: [`${api}.>`, '$JS.ACK.>', '$JS.FC.>', '$KV.>', '$O.>', 'async.>', 'dlq.>', subjects.gatewayHere],
      deny: [
        `${api}.STREAM.DELETE.*`,
        `${api}.ACCOUNT.>`,
        `${api}.SERVER.>`,
        ...kept.flatMap((stream) => [`${api}.STREAM.PURGE.${stream}`, `${api}.STREAM.MSG.DELETE.${stream}`]),
      ],
    },
    // Who joined nodes are, a server asks a gateway (`gateway/joining/nats-users.ts`).
    subscribe: { allow: [inbox('gateway'), userQuestions] },
    allow_responses: { max: 1, expires: '5s' },
  },
  /** Hears of nodes, and finds out with other schedulers who leads. Nothing of functions, callers or events. */
  scheduler: {
    publish: {
      allow: [
        `${api}.INFO`,
        `${api}.STREAM.CREATE.${kv(buckets.schedulers)}`,
        ...reading(kv(buckets.schedulers)),
        ...reading(kv(buckets.nodes)),
        `$KV.${buckets.schedulers}.>`,
        subjects.reportNow,
        'node.*.report-now',
      ],
    },
    subscribe: { allow: [inbox('scheduler'), subjects.allNodeReports, subjects.allNodeFiles] },
  },
  /** Nodes of the stack copy code from each other, and say where. */
  'node-agent': {
    publish: { allow: [...everyNode.publish.allow, subjects.allNodesHere] },
    subscribe: { allow: [...everyNode.subscribe.allow, subjects.allNodesHere] },
  },
}

/**
 * Those of a node that joined: it reports in no other's name, and hears nothing that is for others. Where nodes copy code from each other is not
 * for it to say or to know: that hop has one token for all.
 */
export const joinedNodePermissions = (nodeId: string): NatsPermissions => nodePermissions(nodeId, nodeId)
