/** What a lab's cluster is made of: components from Go modules, a container runtime from Debian packages that are only extracted. */
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { extractDebianFiles } from '../../../../scripts/setup/debian-files.ts'
import { installPackages, missingPackages } from '../../../../scripts/setup/debian.ts'
import { cacheDir, toolPath } from '../../../../scripts/setup/paths.ts'
import { prepareMachine } from '../../../../scripts/setup/prepare.ts'
import { run } from '../../../../scripts/setup/run.ts'
import { buildOciImage } from '../../../../stacks/kubernetes/images/build.ts'
import { importImage } from '../../../../stacks/kubernetes/images/import.ts'
import { pauseImage } from './settings.ts'

/** Of the machine that runs the tests. */
const machinePackages = ['curl', 'iproute2', 'libseccomp2', 'nftables', 'openssl', 'util-linux']
const nodePackages = ['containerd', 'runc', 'containernetworking-plugins']
const components = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy', 'kubelet']

/** @returns root of the extracted packages */
export const provideClusterTools = async (): Promise<string> => {
  await prepareMachine([], ['kubernetes', 'kubernetes-lab'])
  const missing = await missingPackages(machinePackages)
  if (missing.length > 0) await installPackages(missing)
  const dir = join(cacheDir(), 'lab', 'kubernetes-node-1')
  if (existsSync(dir)) return dir
  const partial = `${dir}.${process.pid}`
  mkdirSync(join(cacheDir(), 'lab'), { recursive: true })
  try {
    await extractDebianFiles(nodePackages, partial)
    renameSync(partial, dir)
    return dir
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}

/** @param dir made; one link a component, all of them to the same program */
export const linkComponents = (dir: string): void => {
  mkdirSync(dir)
  for (const name of components) symlinkSync(toolPath('kubernetes'), join(dir, name))
  symlinkSync(toolPath('coredns'), join(dir, 'coredns'))
}

/** @param file becomes an OCI archive */
export const makePauseImage = async (dir: string, file: string): Promise<void> => {
  const program = join(dir, 'pause')
  await run('gcc', ['-O2', '-static', '-o', program, join(import.meta.dirname, 'pause.c')])
  const files = [{ path: '/pause', source: program, name: 'pause', version: '1' }]
  const input = { name: 'pause', out: join(dir, 'pause-image'), root: dir, bundles: [], files, base: false }
  const { layoutPath: layout } = await buildOciImage({ ...input, entrypoint: ['/pause'] })
  await importImage({ layout, image: pauseImage, command: ['tee', file] })
}
