/** What a checkpoint depends on: another value of any of these needs another checkpoint. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RuntimeName } from '../../services/contracts/function.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import { ociSpec, runscFlags } from '../../services/node-agent/sandbox/bundle.ts'
import { sha256OfFile } from '../erofs.ts'
import { checkpointInputsDigest } from '../inputs.ts'

/** gVisor saves what CPUID said, and refuses to restore where a feature is missing. */
export const cpuFeatures = (cpuinfo: string): string => {
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(cpuinfo)?.[1] ?? ''
  const flags = field('flags').split(' ').sort().join(' ')
  return [field('vendor_id'), field('cpu family'), field('model'), flags].join('\n')
}

export const checkpointKey = async (runtime: RuntimeName, imagePath: string, runscPath: string): Promise<string> => {
  const command = runtimeCommands[runtime]
  const shape = ociSpec({ imagePath: '', command, socketDir: '', hostname: '', checkpointable: true }, '')
  const parts = [
    runtime,
    await sha256OfFile(imagePath),
    execFileSync(runscPath, ['--version'], { encoding: 'utf8' }),
    cpuFeatures(readFileSync('/proc/cpuinfo', 'utf8')),
    JSON.stringify([shape, runscFlags]),
    checkpointInputsDigest(),
  ]
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 32)
}
