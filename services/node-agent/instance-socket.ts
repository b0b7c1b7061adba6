/** Where the processes of one sandbox reach the agent. */
import { chmod } from 'node:fs/promises'
import type { Server } from 'node:net'

/** Any uid of the sandbox connects; the directory that holds the socket is the agent's alone and mounted into one sandbox. */
export const listenOnSocket = async (server: Server, socketPath: string): Promise<void> => {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath, resolve)
  })
  await chmod(socketPath, 0o666)
}
