/** `put`: writes a file (0600) from `content`, or from another file. `remove`: takes it away, and its directory when empty. */
import { readFileSync, rmdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { Type } from 'typebox'
import { readInput } from './input.ts'
import { writeFileIfChanged } from './write-file.ts'

const FileInput = Type.Object({
  path: Type.String({ pattern: '^/' }),
  content: Type.Optional(Type.String()),
  from: Type.Optional(Type.String({ pattern: '^/' })),
})

const input = readInput(FileInput)
switch (process.argv[2]) {
  case 'put':
    writeFileIfChanged(input.path, input.content ?? readFileSync(input.from ?? '', 'utf8'))
    break
  case 'remove':
    rmSync(input.path, { force: true })
    try {
      rmdirSync(dirname(input.path))
    } catch {
      // Others have files there, or it is gone.
    }
    break
  default:
    throw new Error('usage: file.ts put|remove')
}
