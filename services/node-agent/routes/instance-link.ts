/** Hop in from the schedulers: start and end instances, over links. */
import { Compile } from 'typebox/compile'
import type { Session } from '../../chassis/link/accept.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { EndMessage, StartMessage } from '../../contracts/links.ts'
import type { NodeScheduler } from '../node-scheduler/node-scheduler.ts'

const schemas = { start: Compile(StartMessage), end: Compile(EndMessage) }

export const instanceSession = (scheduler: Pick<NodeScheduler, 'start' | 'end'>): Session => ({
  handle: (message) => {
    if (schemas.start.Check(message)) scheduler.start(message[2])
    else if (schemas.end.Check(message)) scheduler.end(message[2], message[3])
    else throw new PlatformError('INVALID_REQUEST', `the message ${String(message[0])} does not fit its schema`)
    return []
  },
})
