import { expect, it } from 'vitest'
import { parseStackConfig } from './config.ts'
import { joinFromProblems, prefixFamily } from './join-from.ts'

it.each([
  ['10.0.0.0/8', 4],
  ['0.0.0.0/0', 4],
  ['fd00::/8', 6],
  ['2001:db8::1/128', 6],
  ['10.0.0.0/33', 0],
  ['fd00::/129', 0],
  ['10.0.0.1', 0],
  ['10.0.0/8', 0],
  ['10.0.0.0/8 } accept', 0],
])('%s is a prefix of family %i', (text, family) => {
  expect(prefixFamily(text)).toBe(family)
})

it('a bad prefix is named by its own key', () => {
  expect(joinFromProblems('forkyard:joinFrom', ['10.0.0.0/8', 'lan', 3])).toEqual([
    'forkyard:joinFrom[1]: "lan" is no prefix of IP addresses; expected one like 10.0.0.0/8',
    'forkyard:joinFrom[2]: 3 is no prefix of IP addresses; expected one like 10.0.0.0/8',
  ])
})

const around = { stack: 's', cacheDir: '/c', memoryMiB: 1024 }

it('no stack lets machines join by itself', () => {
  expect(parseStackConfig({}, around).joinFrom).toEqual([])
})

const parse = (text: string) => () => parseStackConfig({ 'forkyard:joinFrom': text }, around)

it('the configuration refuses what is no prefix, and another target', () => {
  expect(parse('["lan"]')).toThrow('forkyard:joinFrom[0]: "lan"')
  expect(parse('lan')).toThrow('forkyard:joinFrom: is not an array')
  expect(parse('["10.0.0.0/8"]')).toThrow('forkyard:joinFrom: is for forkyard:target metal alone; the target is local')
})
