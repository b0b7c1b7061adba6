import type { JoinedNodes } from '../../chassis/joined-nodes.ts'

/** Where no node can join. */
export const nobodyJoined: Pick<JoinedNodes, 'get' | 'byUrl'> = { get: () => undefined, byUrl: () => undefined }
