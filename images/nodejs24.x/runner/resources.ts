/**
 * What a function's initialisation leaves open and a fork cannot have: descriptors would be shared by all forks, threads do not exist
 * in them, and timers would fire in each. A checkpoint can have some of it (`unsavedKinds`).
 */
import { createHook } from 'node:async_hooks'
import { fstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
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

/** What a checkpoint cannot have, or should not: the others are memory of the sandbox, and saved with it. */
export const unsavedKinds: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(kinds).filter(([, kind]) => !['timer', 'signal listener', 'compression'].includes(kind)),
)

/** Work that was begun and ends by itself, as a file that is being read, is given this long. */
const settleMs = 50
const rounds = 10

/** Streams for the descriptors 0 to 2 are made when they are first touched, if only by an import of `node:process`; clones have them anew. */
const isStandard = (handle: object | undefined): boolean => {
  const { fd } = (handle ?? {}) as { fd?: number }
  return fd !== undefined && fd >= 0 && fd <= 2
}

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

/**
 * Of a process that is saved, without a look into `/proc`: each name that is looked up there becomes an object of gVisor's kernel, which
 * every restore would decode. Files of the sandbox are saved with it.
 */
const unsavedDescriptors = (): Map<string, string> => {
  const found = new Map<string, string>()
  for (let fd = 3; fd < descriptorLimit; fd++) {
    try {
      const stat = fstatSync(fd)
      if (!stat.isFile() && !stat.isDirectory() && !stat.isCharacterDevice())
        found.set(String(fd), stat.isSocket() ? 'socket' : stat.isFIFO() ? 'pipe' : `of kind ${stat.mode.toString(8)}`)
    } catch {
      // Not open.
    }
  }
  return found
}

/** `RLIMIT_NOFILE` of a sandbox. */
const descriptorLimit = 1024

/** libuv's pool is not counted: idle, it holds no lock, and libuv makes another one in the fork when it is first used there. */
const threads = (): number =>
  readdirSync('/proc/self/task').filter((id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8') !== 'libuv-worker\n')
    .length

/** Call before the function is loaded, when everything of Node.js's own has run once. */
export const watchResources = (unwanted = kinds): Resources => {
  const forFork = unwanted === kinds
  const look = forFork ? descriptors : unsavedDescriptors
  // gVisor saves threads; workers, which have randomness of their own, are found by their handles.
  const count = forFork ? threads : () => 0
  const before = { descriptors: look(), threads: count() }
  const open = new Map<number, { readonly type: string; readonly handle: WeakRef<object> }>()
  const collect = (globalThis as { gc?: () => void }).gc
  let own = false
  const hook = createHook({
    init: (id, type, _, handle) => {
      if (type in unwanted && !own) open.set(id, { type, handle: new WeakRef(handle) })
    },
    destroy: (id) => void open.delete(id),
  }).enable()

  const find = (): string | undefined => {
    const type = [...open.values()].find(({ handle }) => forFork || !isStandard(handle.deref()))?.type
    if (type !== undefined) return `${unwanted[type]} (${type})`
    const more = count() - before.threads
    if (more > 0) return `thread (${more} more)`
    for (const [fd, target] of look()) if (before.descriptors.get(fd) !== target) return `descriptor (${target})`
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
