/** Looks for secrets in a checkpoint's files: pages as they were in memory, neither compressed nor encrypted. */
import { createReadStream, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Shorter ones are found in any memory by chance. */
export const shortestSecret = 8

/** The bytes as which runtimes keep a text: as they got it, and as their own strings. */
const forms = (value: string): Buffer[] => {
  const all = (['utf8', 'utf16le', 'latin1'] as const).map((encoding) => Buffer.from(value, encoding))
  return [...new Map(all.map((bytes) => [bytes.toString('hex'), bytes])).values()]
}

/** @param secrets values by name. @returns the names of those that are there. */
export const findSecrets = async (directory: string, secrets: Readonly<Record<string, string>>): Promise<string[]> => {
  const wanted = Object.entries(secrets)
    .filter(([, value]) => Buffer.byteLength(value) >= shortestSecret)
    .map(([name, value]) => ({ name, patterns: forms(value) }))
  const overlap = Math.max(1, ...wanted.flatMap(({ patterns }) => patterns.map(({ length }) => length))) - 1
  const found = new Set<string>()
  for (const file of wanted.length > 0 ? readdirSync(directory) : []) {
    let rest = Buffer.alloc(0)
    for await (const chunk of createReadStream(join(directory, file), { highWaterMark: 1 << 20 })) {
      const bytes = Buffer.concat([rest, chunk as Buffer])
      for (const { name, patterns } of wanted)
        if (!found.has(name) && patterns.some((pattern) => bytes.includes(pattern))) found.add(name)
      rest = bytes.subarray(Math.max(0, bytes.length - overlap))
    }
  }
  return [...found].sort()
}
