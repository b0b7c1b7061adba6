/** Whose fault it is that no sandbox could be started: a node that cannot start any is to be given nothing more. */
import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream'
import { errors } from '@nats-io/transport-node'
import { PlatformError } from '../../contracts/errors.ts'

/** The node could not start a sandbox, whatever the function is. */
export class SandboxFailed extends Error {
  constructor(cause: unknown) {
    super('the node could not start a sandbox', { cause })
  }
}

const storeErrors = [JetStreamApiError, JetStreamError, ...Object.values(errors)]

/**
 * @param error of a start that did not get as far as to the function. What the function itself did wrong shows later, in its initialisation;
 *   what the node knows to be full, missing or damaged has a code of its own; the store is nobody's node.
 */
export const isNodesFault = (error: unknown): boolean =>
  error instanceof PlatformError
    ? error.code === 'INSTANCE_LOST' || error.code === 'INTERNAL'
    : !storeErrors.some((of) => error instanceof of)
