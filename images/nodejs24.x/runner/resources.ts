/**
 * What a function's initialisation leaves open and a fork cannot have: descriptors would be shared by all forks, threads do not exist
 * in them, and timers would fire in each.
 */
import { createHook } from 'node:async_hooks'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** Types of async_hooks, in words. Whatever else is there (promises, what functions make themselves) is memory alone. */
const kinds: Readonly<Record<string, string>> = {
  Timeout: 'timer',
  Immediate: 'timer',
  TCPWRAP: 'socket',
  TCPSERVERWRAP: 'server',
  TCPCONNECTWRAP: 'socket',
  TLSWRAP: 'socket',
  PIPEWRAP: 'pipe',
  PIPESERVERWRAP: 'server',
  PIPECONNECTWRAP: 'pipe',
  TTYWRAP: 'terminal',
  UDPWRAP: 'socket',
  UDPSENDWRAP: 'socket',
  FSEVENTWRAP: 'file watcher',
  STATWATCHER: 'file watcher',
  FSREQCALLBACK: 'file operation',
  FSREQPROMISE: 'file operation',
  PROCESSWRAP: 'process',
  SIGNALWRAP: 'signal listener',
  WORKER: 'worker',
  MESSAGEPORT: 'message port',
  GETADDRINFOREQWRAP: 'DNS query',
  GETNAMEINFOREQWRAP: 'DNS query',
  QUERYWRAP: 'DNS query',
  ZLIB: 'compression',
}

/** Work that was begun and ends by itself, as a file that is being read, is given this long. */
const settleMs = 50
const rounds = 10

export interface Resources {
  /** In words, what is open now and was not before; nothing when the process can be forked. Call once. */
  opened(): Promise<string | undefined>
}

const descriptors = (): Map<string, string> =>
  new Map(
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [[fd, readlinkSync(`/proc/self/fd/${fd}`)]]
      } catch {
        // The directory itself, while it was read.
        return []
      }
    }),
  )

/** libuv's pool is not counted: idle, it holds no lock, and libuv makes another one in the fork when it is first used there. */
const threads = (): number =>
  readdirSync('/proc/self/task').filter((id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8') !== 'libuv-worker\n')
    .length

/** Call before the function is loaded, when everything of Node.js's own has run once. */
export const watchResources = (): Resources => {
  const before = { descriptors: descriptors(), threads: threads() }
  const open = new Map<number, string>()
  const collect = (globalThis as { gc?: () => void }).gc
  let own = false
  const hook = createHook({
    init: (id, type) => {
      if (type in kinds && !own) open.set(id, type)
    },
    destroy: (id) => void open.delete(id),
  }).enable()

  const find = (): string | undefined => {
    const [type] = open.values()
    if (type !== undefined) return `${kinds[type]} (${type})`
    if (threads() > before.threads) return `thread (${threads() - before.threads} more)`
    for (const [fd, target] of descriptors()) if (before.descriptors.get(fd) !== target) return `descriptor (${target})`
    return undefined
  }
  return {
    async opened() {
      let found: string | undefined
      // At least once: what was begun may open something in the next turn only.
      for (let round = 0; round === 0 || (found !== undefined && round < rounds); round++) {
        own = true
        const settled = delay(settleMs / rounds)
        own = false
        await settled
        // Some are only known to have ended once they are collected.
        collect?.()
        found = find()
      }
      hook.disable()
      return found
    },
  }
}
