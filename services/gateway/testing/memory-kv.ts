/** A KV bucket in memory, with the conflicts of the real one: what the registry needs of it. */
import { JetStreamApiError } from '@nats-io/jetstream'
import type { KV, KvEntry } from '@nats-io/kv'

const conflict = (): never => {
  throw new JetStreamApiError({ code: 400, err_code: 10071, description: 'wrong last sequence' })
}

/** As NATS filters subjects. */
const matches = (filter: string, key: string): boolean => {
  const [wanted, tokens] = [filter.split('.'), key.split('.')]
  return (
    wanted.at(-1) === '>' ||
    (wanted.length === tokens.length && wanted.every((token, at) => token === '*' || token === tokens[at]))
  )
}

export const memoryKv = (): KV => {
  const entries = new Map<string, KvEntry>()
  const watchers = new Set<(entry: KvEntry) => void>()
  let revision = 0
  const write = (key: string, value: string, operation: 'PUT' | 'DEL'): number => {
    revision++
    const entry = { key, revision, operation, string: () => value, json: () => JSON.parse(value) as unknown } as KvEntry
    entries.set(key, entry)
    for (const watcher of watchers) watcher(entry)
    return revision
  }
  const isHeld = (key: string) => entries.get(key)?.operation === 'PUT'
  return {
    get: async (key: string) => entries.get(key) ?? null,
    put: async (key: string, value: string) => write(key, value, 'PUT'),
    create: async (key: string, value: string) => (isHeld(key) ? conflict() : write(key, value, 'PUT')),
    update: async (key: string, value: string, at: number) =>
      entries.get(key)?.revision === at ? write(key, value, 'PUT') : conflict(),
    delete: async (key: string, options?: { previousSeq?: number }) => {
      if (options?.previousSeq !== undefined && entries.get(key)?.revision !== options.previousSeq) conflict()
      write(key, '', 'DEL')
    },
    purge: async (key: string) => void entries.delete(key),
    history: async ({ key = '>' }: { key?: string } = {}) =>
      (async function* () {
        for (const entry of entries.values()) if (matches(key, entry.key)) yield entry
      })(),
    watch: async () => {
      const queue = [...entries.values()]
      let wake: (() => void) | undefined
      const stopped = new AbortController()
      const push = (entry: KvEntry) => {
        queue.push(entry)
        wake?.()
      }
      watchers.add(push)
      const iterate = async function* () {
        while (!stopped.signal.aborted) {
          const next = queue.shift()
          if (next) yield next
          else await new Promise<void>((resolve) => (wake = resolve))
        }
      }
      return Object.assign(iterate(), {
        stop: () => {
          stopped.abort()
          watchers.delete(push)
          wake?.()
        },
      })
    },
  } as unknown as KV
}
