/**
 * Loads what handlers commonly import, so that it is in the checkpoint. Nothing here may keep randomness, a time, an address or
 * an open file for later.
 */
import 'node:assert'
import 'node:async_hooks'
import 'node:buffer'
import 'node:child_process'
import 'node:crypto'
import 'node:dns'
import 'node:events'
import 'node:fs/promises'
import 'node:http'
import 'node:https'
import 'node:os'
import 'node:path'
import 'node:perf_hooks'
import 'node:querystring'
import 'node:readline'
import 'node:stream/promises'
import 'node:stream/web'
import 'node:string_decoder'
import 'node:timers/promises'
import 'node:tls'
import 'node:url'
import 'node:util'
import 'node:worker_threads'
import 'node:zlib'
import { createRequire } from 'node:module'

/** Globals that Node.js loads when they are first touched. */
export const preload = async (): Promise<void> => {
  void [fetch, Headers, FormData, WebSocket, Blob, BroadcastChannel, CompressionStream, crypto.subtle]
  const request = new Request('http://localhost/', { method: 'POST', body: '{}', signal: new AbortController().signal })
  await request.json()
  await Response.json({ text: 'ä' }, { headers: { 'set-cookie': 'a=b' } }).text()
  structuredClone({ a: [1] })
  new Intl.DateTimeFormat('en-US').format(0)
  // Both module loaders, on files of the image.
  createRequire(import.meta.url)('./warm-up.cjs')
  await import(new URL('warm-up.mjs', import.meta.url).href)
}
