/** A CloudEvents function: forkyard deploy examples/cloud-event, then POST a CloudEvent to its URL, or invoke it with one. */
import type { CloudEvent } from 'cloudevents'

interface Upload {
  readonly bucket: string
  readonly key: string
}

export const cloudEvent = async (event: CloudEvent<Upload>) => {
  console.log(`${event.type} from ${event.source}: ${event.data?.bucket}/${event.data?.key}`)
  return { id: event.id, type: event.type, stored: event.data?.key ?? null }
}
