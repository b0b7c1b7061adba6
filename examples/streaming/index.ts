/** Answers word by word: forkyard deploy examples/streaming && forkyard invoke streaming --stream --data '{"text":"one two"}' */
import type { Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'

interface Event {
  readonly text?: string
  readonly pauseMs?: number
}

/** Put there by the runtime, as in AWS Lambda. */
declare const awslambda: {
  streamifyResponse(handler: (event: Event, stream: Writable) => Promise<void>): unknown
}

export const handler = awslambda.streamifyResponse(async ({ text = 'one two three', pauseMs = 100 }, stream) => {
  for (const word of text.split(' ')) {
    stream.write(`${word}\n`)
    await pause(pauseMs)
  }
  stream.end()
})
