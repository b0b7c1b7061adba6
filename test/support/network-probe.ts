/** A function that does what the event says on the network and tells how each step went, and its policy from outside. */
import { Value } from 'typebox/value'
import { signedFetch } from '../../services/cli/signed-fetch.ts'
import { AuditRecord } from '../../services/contracts/audit.ts'
import type { NetworkPolicy } from '../../services/contracts/network.ts'
import type { Connection } from './lambda.ts'

/** `hold` opens a connection that stays; `use` says something on it. */
export type Step =
  | { readonly tcp: string; readonly port: number }
  | { readonly udp: string; readonly port: number; readonly say?: number }
  | { readonly hold: string; readonly port: number }
  | { readonly use: true }
  | { readonly lookup: string; readonly family?: 4 | 6 }
  | { readonly addresses: true }
  /** Ends with what the first connection to one of the ports says. */
  | { readonly listen: readonly number[] }
  /** So many connections, one after the other or at once; tells how many were answered. */
  | { readonly many: string; readonly port: number; readonly times: number; readonly atOnce?: true }

export const probeSource = `import net from 'node:net'
import dgram from 'node:dgram'
import dns from 'node:dns/promises'
import os from 'node:os'
const limit = (ms, work) => Promise.race([work, new Promise((_, no) => setTimeout(() => no(Object.assign(new Error(), { code: 'SILENT' })), ms).unref())])
const say = (socket, ms, text) => limit(ms, new Promise((yes, no) => { socket.once('data', (d) => yes(String(d))); socket.once('error', no); socket.write(text) }))
let held
const steps = {
  tcp: async ({ tcp, port }, ms) => {
    const socket = net.connect({ host: tcp, port })
    try { return await say(socket, ms, 'hello') } finally { socket.destroy() }
  },
  udp: async ({ udp, port, say: bytes = 5 }, ms) => {
    const socket = dgram.createSocket(udp.includes(':') ? 'udp6' : 'udp4')
    try { return await limit(ms, new Promise((yes, no) => {
      socket.once('message', (d) => yes(d.length > 100 ? String(d.length) : String(d))); socket.once('error', no)
      socket.send(Buffer.alloc(bytes, 'u'), port, udp, (e) => e && no(e))
    })) } finally { socket.close() }
  },
  hold: async ({ hold, port }, ms) => { held = net.connect({ host: hold, port }); return say(held, ms, 'first') },
  use: (_, ms) => say(held, ms, 'again'),
  lookup: async ({ lookup, family = 4 }, ms) => (await limit(ms, dns.lookup(lookup, { family }))).address,
  listen: async ({ listen }, ms) => {
    const servers = listen.map(() => net.createServer())
    try { return await limit(ms, new Promise((yes, no) => servers.forEach((server, at) =>
      server.on('connection', (s) => s.once('data', (d) => yes(String(d)))).on('error', no).listen(listen[at])))) }
    finally { await new Promise((go) => setTimeout(go, 1500)); servers.forEach((server) => server.close()) }
  },
  many: async ({ many, port, times, atOnce }, ms) => {
    let answered = 0
    const one = () => steps.tcp({ tcp: many, port }, ms).then(() => answered++, () => undefined)
    if (atOnce) await Promise.all(Array.from({ length: times }, one))
    else for (let n = 0; n < times; n++) await one()
    return answered
  },
  addresses: async () => Object.entries(os.networkInterfaces()).flatMap(([name, all]) => name === 'lo' ? [] : all.map(({ address }) => address)),
}
export const handler = async ({ todo, ms = 1000 }) => {
  const told = []
  for (const step of todo) {
    const kind = Object.keys(steps).find((name) => name in step)
    try { told.push(await steps[kind](step, ms)) } catch (error) { told.push(error.code ?? String(error)) }
  }
  return told
}
`

const pathOf = (name: string): string => `/forkyard/v1/functions/${name}/network-policy`

export const putPolicy = async (target: Connection, name: string, policy: NetworkPolicy): Promise<void> => {
  await signedFetch(target, { method: 'PUT', path: pathOf(name), body: policy })
}

export const deletePolicy = async (target: Connection, name: string): Promise<void> => {
  await signedFetch(target, { method: 'DELETE', path: pathOf(name) })
}

/** What the audit has of the function since then, oldest first. */
export const auditOf = async (target: Connection, name: string, since: number): Promise<AuditRecord[]> => {
  const path = `/forkyard/v1/functions/${name}/audit`
  const reply = await signedFetch(target, { path, query: { since: String(Math.floor(since)) } })
  const lines = (await reply.text()).split('\n').filter((line) => line !== '')
  return lines.map((line) => Value.Parse(AuditRecord, JSON.parse(line)))
}
