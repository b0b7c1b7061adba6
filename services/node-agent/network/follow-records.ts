/** Follows what is kept beside functions in the bucket `network`. */
import type { KvEntry } from '@nats-io/kv'
import { WatchedBucket, type BucketDeps } from '../../chassis/watched-bucket.ts'

export interface FollowDeps<T> extends BucketDeps {
  /** Of the keys to follow, as NATS filters subjects. */
  readonly filter: string
  /** Undefined: it says that there is none. @throws when the value is none of these records: its function then has none. */
  readonly read: (value: unknown, key: string) => T | undefined
  readonly onChange: (key: string, record: T | undefined) => void
}

/** Resolves when every record of now is known, with what ends it. */
export const followRecords = async <T>({ filter, read, onChange, ...deps }: FollowDeps<T>): Promise<() => void> => {
  const { promise: known, resolve: synced } = Promise.withResolvers<void>()
  const tryRead = (entry: KvEntry): T | undefined => {
    try {
      return read(entry.json(), entry.key)
    } catch (err) {
      deps.logger.error({ err, key: entry.key }, 'a record cannot be read: its function has none')
      return undefined
    }
  }
  const bucket = new WatchedBucket<{ readonly record: T | undefined }>(deps, {
    name: 'records of functions',
    filter,
    // What cannot be read takes the place of what could: it must not open what the last one did.
    read: (entry) => ({ record: tryRead(entry) }),
    changed: (key, before, after) => {
      if (before?.record !== undefined || after?.record !== undefined) onChange(key, after?.record)
    },
    synced,
  })
  bucket.start()
  await known
  return () => bucket.close()
}
