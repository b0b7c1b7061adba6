import { describe, expect, it } from 'vitest'
import { homes, Peers } from './peers.ts'

const here = (nodeId: string, leaving = false) => ({ nodeId, url: `http://${nodeId}`, leaving })
const fleet = Array.from({ length: 20 }, (_, at) => `n${at}`)
const digests = Array.from({ length: 50 }, (_, at) => at.toString(16).padStart(64, '0'))

const peersOf = (own: string, now: () => number = () => 0) => {
  const peers = new Peers(own, now)
  for (const nodeId of fleet) peers.heard(here(nodeId))
  return peers
}
const ids = (peers: Peers, digest: string) => peers.nearest(digest).map(({ nodeId }) => nodeId)

describe('which nodes are asked for an image', () => {
  it('all nodes agree on three, who know it of themselves, and images are spread over all', () => {
    const all = fleet.map((own) => ({ own, peers: peersOf(own) }))
    const asked = new Set<string>()
    for (const digest of digests) {
      const near = all.filter(({ peers }) => peers.ownRank(digest) < homes).map(({ own }) => own)
      expect(near).toHaveLength(3)
      for (const { own, peers } of all)
        if (!near.includes(own)) expect(ids(peers, digest).toSorted()).toEqual(near.toSorted())
      for (const home of near) asked.add(home)
    }
    expect(asked.size).toBe(fleet.length)
  })

  it('never itself', () => {
    const peers = peersOf('n3')
    for (const digest of digests) expect(ids(peers, digest)).not.toContain('n3')
  })

  it('a node that leaves or is avoided is no one’s, and moves nothing else', () => {
    let now = 0
    const peers = peersOf('self', () => now)
    const [digest = ''] = digests
    const [first = '', second, third] = ids(peers, digest)
    peers.heard(here(first, true))
    expect(ids(peers, digest).slice(0, 2)).toEqual([second, third])
    peers.heard(here(first))
    peers.avoid(here(first), 1000)
    expect(ids(peers, digest)).not.toContain(first)
    // Being heard of makes up for nothing; another process at another place does.
    peers.heard(here(first))
    expect(ids(peers, digest)).not.toContain(first)
    now = 1000
    expect(ids(peers, digest)[0]).toBe(first)
    peers.avoid(here(first), 1000)
    peers.heard({ ...here(first), url: 'http://elsewhere' })
    expect(ids(peers, digest)[0]).toBe(first)
  })

  it('one that falls silent is forgotten', () => {
    let now = 0
    const peers = peersOf('self', () => now)
    now = 25_000
    peers.heard(here('n1'))
    now = 31_000
    expect(ids(peers, digests[0] ?? '')).toEqual(['n1'])
  })
})
