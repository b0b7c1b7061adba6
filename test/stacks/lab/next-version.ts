/** The version after this one, as another commit of the project. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repoRoot } from '../../../scripts/setup/paths.ts'
import { protocolVersion } from '../../../services/contracts/protocol.ts'
import { copyTree, type TreeCopy } from './tree-copy.ts'

export const { version } = JSON.parse(readFileSync(join(repoRoot, 'package.json'), 'utf8')) as { version: string }
const [major = 0, minor = 0] = version.split('.').map(Number)

/** So many minor versions after this one. */
export const later = (minors: number): string => `${major}.${minor + minors}.0`

/** Of each runtime: a file of its image, and what comes at its end. */
const runners = {
  'nodejs24.x': ['images/nodejs24.x/runner/main.ts', "process.env['FORKYARD_NEXT'] = '1'\n"],
  'python3.11': ['images/python3.11/runner/bootstrap.py', '# Of the next version.\n'],
} as const

/**
 * Every service is another, and speaks the next protocol; the image of one runtime is another, and with it the checkpoints made of it.
 * @param dir does not exist yet
 */
export const nextVersion = async (dir: string, changed: keyof typeof runners): Promise<TreeCopy> => {
  const tree = await copyTree(dir)
  tree.change('package.json', `"version": "${version}"`, `"version": "${later(1)}"`)
  tree.change(
    'services/contracts/protocol.ts',
    `protocolVersion = ${protocolVersion}`,
    `protocolVersion = ${protocolVersion + 1}`,
  )
  tree.change(runners[changed][0], /$/, runners[changed][1])
  return tree
}
