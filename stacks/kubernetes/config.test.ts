import { describe, expect, it } from 'vitest'
import { parseStackConfig } from '../config.ts'

const parse = (kubernetes: unknown, raw: Readonly<Record<string, string>> = {}) =>
  parseStackConfig(
    {
      'forkyard:target': 'kubernetes',
      ...(kubernetes === undefined ? {} : { 'forkyard:kubernetes': JSON.stringify(kubernetes) }),
      ...raw,
    },
    { stack: 'blue', cacheDir: '/cache', memoryMiB: 1024 },
  )
const importers = [['load']]

it('has defaults, and leaves a node’s memory to the node', () => {
  const config = parse({ importers })
  expect(config.kubernetes).toMatchObject({
    images: 'import',
    gateways: 2,
    natsServers: 1,
    nodeLabel: 'forkyard/node=true',
  })
  expect(config.nodeMemoryMiB).toBeUndefined()
  expect(config.publicUrl).toBe('http://gateway.forkyard-blue.svc:9000')
})

it('is reached at its host', () => {
  const entrance = { host: 'fn.test', ingressClass: 'nginx' }
  expect(parse({ importers, ...entrance }).publicUrl).toBe('http://fn.test')
  expect(parse({ importers, ...entrance, tlsSecret: 'cert' }).publicUrl).toBe('https://fn.test')
})

describe('is refused by the name of the key', () => {
  it.each<[unknown, string]>([
    [undefined, 'forkyard:kubernetes.importers: is empty'],
    [{ importers, images: 'registry' }, 'forkyard:kubernetes.registry: is missing'],
    [{ importers, natsServers: 2 }, 'forkyard:kubernetes.natsServers: 2 cannot agree'],
    [{ importers, replicas: 2 }, 'forkyard:kubernetes.replicas: unknown key'],
    [{ importers, storage: '10 GB' }, 'forkyard:kubernetes.storage: "10 GB" is not valid'],
    [{ importers, ingressClass: 'nginx' }, 'forkyard:kubernetes.host: is missing'],
    [{ importers, host: 'fn.test', parentGateway: 'a/b', tlsSecret: 'c' }, 'forkyard:kubernetes.tlsSecret: is for'],
    ['text', 'forkyard:kubernetes: is not an object'],
  ])('%j', (kubernetes, problem) => {
    expect(() => parse(kubernetes)).toThrow(problem)
  })
})
