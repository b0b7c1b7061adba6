/** What load and simulated nodes know of an invocation, so that only numbers go from one process to the other. */
import type { VersionConfig } from '../../../services/contracts/function.ts'

export const versionOf = (index: number, keepAliveMs: number): VersionConfig =>
  ({
    tenant: `tenant-${index % 50}`,
    name: `function-${index}`,
    version: '$LATEST',
    revisionId: `revision-${index}`,
    runtime: 'nodejs24.x',
    memoryMiB: 128,
    policy: { concurrency: 1, reuse: true, keepAliveMs },
  }) as VersionConfig

/** As long as a real one. */
export const invocationIdOf = (number: number): string =>
  `5f0c9a52-7d1e-4b83-9c46-${number.toString(16).padStart(12, '0')}`

export const nodeIdOf = (index: number): string => `node-5f0c9a52-${index}`

/** Load -> nodes: number of the invocation, node, function, microseconds of its handler. */
export const invocationFields = 4
/** Nodes -> load: number of an invocation that has ended. */
export const endFields = 1
