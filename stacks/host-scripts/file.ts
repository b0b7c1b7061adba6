/** `put`: writes a file (0600). `check`: a line, if it is not as it was written. `remove`: takes it away, and its directory when empty. */
import { Type } from 'typebox'
import { fileDrift, sayDrift } from './drift.ts'
import { readInput } from './input.ts'
import { removeFile, writeFileIfChanged } from './write-file.ts'

const FileInput = Type.Object({ path: Type.String({ pattern: '^/' }), content: Type.String() })

const { path, content } = readInput(FileInput)
switch (process.argv[2]) {
  case 'put':
    writeFileIfChanged(path, content)
    break
  case 'check':
    sayDrift(fileDrift(path, content))
    break
  case 'remove':
    removeFile(path)
    break
  default:
    throw new Error('usage: file.ts put|check|remove')
}
