/** Hop in from the schedulers: start and end instances, over links. */
import { Compile } from 'typebox/compile'
import type { Session } from '../../chassis/link/accept.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { CordonMessage, EndMessage, StartMessage } from '../../contracts/links.ts'
import type { NodeCordon } from '../node-scheduler/node-cordon.ts'
import type { TermFence } from '../node-scheduler/term-fence.ts'
import type { NodeScheduler } from '../node-scheduler/node-scheduler.ts'

const schemas = { start: Compile(StartMessage), end: Compile(EndMessage), cordon: Compile(CordonMessage) }

export const instanceSession = (
  scheduler: Pick<NodeScheduler, 'start' | 'end'>,
  fence: Pick<TermFence, 'check'>,
  cordon: Pick<NodeCordon, 'set'>,
): Session => ({
  handle: (message) => {
    if (schemas.start.Check(message)) {
      fence.check(message[2])
      scheduler.start(message[3])
    } else if (schemas.end.Check(message)) {
      fence.check(message[2])
      scheduler.end(message[3], message[4])
    } else if (schemas.cordon.Check(message)) cordon.set(message[2] ?? undefined)
    else throw new PlatformError('INVALID_REQUEST', `the message ${String(message[0])} does not fit its schema`)
    return []
  },
})
