/** Names of everything in NATS, in one place. Tenants and functions are `[A-Za-z0-9-_]`, so they are safe as subject tokens. */
/**
 * `asyncState`: attempts so far of asynchronous events that failed at least once, by invocation id.
 * `schedulers`: who leads. `access`: principals and their access keys. `network`: network policies of functions.
 * `nodes`: nodes that joined, and tokens to join with (`joining.ts`).
 */
export const buckets = {
  functions: 'functions',
  code: 'code',
  asyncState: 'async-state',
  access: 'access',
  network: 'network',
  schedulers: 'schedulers',
  nodes: 'nodes',
} as const
export const streams = { async: 'ASYNC', dlq: 'DLQ', usage: 'USAGE', logs: 'LOGS', audit: 'AUDIT' } as const

export const subjects = {
  asyncInvocation: (tenant: string, name: string) => `async.${tenant}.${name}`,
  deadLetter: (tenant: string, name: string) => `dlq.${tenant}.${name}`,
  usage: (tenant: string, name: string, invocationId: string, attempt: number) =>
    `usage.${tenant}.${name}.${invocationId}.${attempt}`,
  logs: (tenant: string, name: string) => `logs.${tenant}.${name}`,
  audit: (tenant: string, name: string) => `audit.${tenant}.${name}`,
  nodeReport: (nodeId: string) => `node.${nodeId}.report`,
  allNodeReports: 'node.*.report',
  /** Every node says now and then where other nodes reach it. */
  nodeHere: (nodeId: string) => `node.${nodeId}.here`,
  allNodesHere: 'node.*.here',
  /** For which functions it has files. */
  nodeFiles: (nodeId: string) => `node.${nodeId}.files`,
  allNodeFiles: 'node.*.files',
  /** Asks every node for a full report at once; a scheduler that begins to lead says its term with it. */
  reportNow: 'node.report-now',
  /** Every gateway says each second where nodes reach it. */
  gatewayHere: 'gateway.here',
  /** Asks one. */
  nodeReportNow: (nodeId: string) => `node.${nodeId}.report-now`,
} as const

export const registryKey = (tenant: string, name: string): string => `${tenant}.${name}`
/** In bucket `network`. */
export const bindingsKey = (tenant: string, name: string): string => `${tenant}.${name}.bindings`
export const versionKey = (tenant: string, name: string, version: number): string => `${tenant}.${name}.${version}`
/** Keeps the next version number of a deleted function, so that no number is ever used again. */
export const tombstoneKey = (tenant: string, name: string): string => `${tenant}.${name}.next`
export const principalKey = (tenant: string, name: string): string => `principal.${tenant}.${name}`
export const accessKeyKey = (accessKeyId: string): string => `key.${accessKeyId}`
export const zipObject = (digest: string): string => `zip/${digest}`
export const imageObject = (digest: string): string => `image/${digest}`
export const joinTokenKey = (tokenId: string): string => `token.${tokenId}`
export const joinedNodeKey = (nodeId: string): string => `node.${nodeId}`
