/**
 * A subject that is heard until its listener has enough: a server of NATS that is about to be replaced by a newer one refuses subjects that only the
 * newer one knows, and that ends a subscription.
 */
import type { Msg, NatsConnection } from '@nats-io/transport-node'

const againMs = 1_000

/** @param onMessage must not throw. @returns ends it */
export const subscribeLastingly = (
  connection: Pick<NatsConnection, 'subscribe' | 'isClosed'>,
  subject: string,
  onMessage: (message: Msg) => void,
): (() => void) => {
  let end: (() => void) | undefined
  const subscribe = (): void => {
    if (connection.isClosed()) return
    const subscription = connection.subscribe(subject, {
      callback: (error, message) => {
        if (!error) onMessage(message)
      },
    })
    let wanted = true
    let timer: NodeJS.Timeout | undefined
    const again = (): void => {
      if (wanted) timer = setTimeout(subscribe, againMs)
    }
    subscription.closed.then(again, again)
    end = () => {
      wanted = false
      clearTimeout(timer)
      subscription.unsubscribe()
    }
  }
  subscribe()
  return () => end?.()
}
