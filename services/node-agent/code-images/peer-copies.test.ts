import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { issueCertificates } from '../../../stacks/components/issue-certificates.ts'
import { PeerCopies } from './peer-copies.ts'
import { Peers } from './peers.ts'

const { cert } = issueCertificates({ subjects: {}, days: 1 }, undefined, Date.now()).authority
const digest = 'a'.repeat(64)

it.each([
  ['is not shown to one without TLS, where nodes have it', cert, []],
  ['negative control: is shown where there is no TLS at all', undefined, ['Bearer of-the-hop']],
])('the token of the hop %s', async (_what, ca, shown) => {
  const seen: (string | undefined)[] = []
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization)
    response.writeHead(404).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const peers = new Peers('own')
  const { port } = server.address() as AddressInfo
  peers.heard({ nodeId: 'other', url: `http://127.0.0.1:${port}`, leaving: false })
  const deps = { peers, token: 'of-the-hop', ca, logger: pino({ level: 'silent' }), onFailure: () => undefined }
  const copies = new PeerCopies(deps)
  expect(await copies.copy(digest, async () => undefined)).toBe(false)
  expect(seen).toEqual(shown)
  await copies.close()
  server.close()
})
