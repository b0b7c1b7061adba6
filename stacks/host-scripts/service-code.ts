/**
 * `put`: bundles a service into its file (0600). The digest is the program's: sources that changed since are an error, not
 * another service than the one that was previewed. `check`: a line, if the file is not there or another. `remove`: takes the file and its directory away.
 */
import { Type } from 'typebox'
import { bundleService } from '../bundle.ts'
import { digestDrift, sayDrift } from './drift.ts'
import { readInput } from './input.ts'
import { removeFile, writeFileIfChanged } from './write-file.ts'

const CodeInput = Type.Object({
  path: Type.String({ pattern: '^/' }),
  /** Relative to `root`. */
  entryPoint: Type.String(),
  root: Type.String({ pattern: '^/' }),
  digest: Type.String(),
})

const { path, entryPoint, root, digest } = readInput(CodeInput)
switch (process.argv[2]) {
  case 'put': {
    const bundle = await bundleService(entryPoint, root)
    if (bundle.digest === digest) writeFileIfChanged(path, bundle.code)
    else {
      process.stderr.write(
        `the sources of ${entryPoint} were changed while the stack was being brought up: run it again\n`,
      )
      process.exitCode = 1
    }
    break
  }
  case 'check':
    sayDrift(digestDrift(path, digest))
    break
  case 'remove':
    removeFile(path)
    break
  default:
    throw new Error('usage: service-code.ts put|check|remove')
}
