/** Where machines join from: prefixes of addresses, and what is wrong with those of `forkyard:joinFrom`. Pure. */
import { isIP } from 'node:net'

/** @returns family of a prefix such as `10.0.0.0/8`; 0: it is none */
export const prefixFamily = (text: string): 4 | 6 | 0 => {
  const [, address = '', length = ''] = /^([0-9a-fA-F:.]+)\/([0-9]{1,3})$/.exec(text) ?? []
  const family = isIP(address)
  if (family === 4 && Number(length) <= 32) return 4
  return family === 6 && Number(length) <= 128 ? 6 : 0
}

/** Every value at fault by its own key. @param key of the list, `forkyard:joinFrom` */
export const joinFromProblems = (key: string, prefixes: unknown): string[] => {
  if (!Array.isArray(prefixes)) return [`${key}: is not an array`]
  return prefixes.flatMap((prefix: unknown, index) =>
    typeof prefix === 'string' && prefixFamily(prefix) !== 0
      ? []
      : [`${key}[${index}]: ${JSON.stringify(prefix)} is no prefix of IP addresses; expected one like 10.0.0.0/8`],
  )
}
