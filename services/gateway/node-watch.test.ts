import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import fastify from 'fastify'
import { expect, it } from 'vitest'
import { acceptLinks } from '../chassis/link/accept.ts'
import { livenessLink } from '../contracts/links.ts'
import { livenessSession } from '../node-agent/routes/liveness-link.ts'
import { NodeUnreachable, NodeWatch } from './node-watch.ts'

const token = 't'.repeat(32)

/** Nobody listens there. */
const deadUrl = async (): Promise<string> => {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await new Promise((resolve) => server.close(resolve))
  return url
}

it('nodes that are gone are forgotten, and no others', async () => {
  const app = fastify()
  acceptLinks(app, { path: livenessLink, token, open: () => livenessSession })
  const here = await app.listen({ host: '127.0.0.1', port: 0 })
  const forgotten: string[] = []
  const trustOf = () => ({ token, ca: undefined })
  const onForgotten = (url: string): void => void forgotten.push(url)
  const options = { trustOf, onLost: () => undefined, onForgotten }
  const watch = new NodeWatch({ ...options, times: { forgetMs: 0 } })
  const patient = new NodeWatch(options)
  try {
    const [first, second, third] = [await deadUrl(), await deadUrl(), await deadUrl()]
    expect(await watch.reach(here)).toBe('watched')
    for (const url of [first, second, third]) await expect(watch.reach(url)).rejects.toThrow(NodeUnreachable)
    expect(forgotten).toEqual([first, second])
    // Those that were asked for lately may come again.
    for (const url of [first, second]) await expect(patient.reach(url)).rejects.toThrow(NodeUnreachable)
    expect(forgotten).toEqual([first, second])
    expect(watch.reach(here)).toBe('watched')
  } finally {
    watch.close()
    patient.close()
    await app.close()
  }
})
