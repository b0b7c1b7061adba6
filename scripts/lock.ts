/** One process at a time, on this machine. The kernel releases the lock when its holder ends, however it ends. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** A socket in the abstract namespace: no file, so nothing to go stale. */
const take = async (name: string): Promise<Server | undefined> => {
  const server = createServer().unref()
  server.listen(`\0forkyard-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`)
  try {
    await once(server, 'listening')
    return server
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined
    throw error
  }
}

/** Waits for as long as another holds it. @param onWait called once when there is one. */
export const withLock = async <T>(name: string, action: () => Promise<T>, onWait?: () => void): Promise<T> => {
  let lock = await take(name)
  if (!lock) onWait?.()
  while (!lock) {
    await delay(250)
    lock = await take(name)
  }
  try {
    return await action()
  } finally {
    lock.close()
  }
}
