/**
 * Where one sandbox lives on the host: directories under `<runDir>/i/<id>` and the control group `<id>`. Costs neither CPU nor memory,
 * and does not depend on what will run there.
 */
import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { makeBundleDir } from './bundle.ts'
import type { Cgroup, CgroupTree } from './cgroup.ts'

export interface SandboxPlace {
  readonly id: string
  readonly cgroup: Cgroup
}

export interface PlaceHost {
  readonly cgroups: CgroupTree
  /** Short: control sockets live in `<runDir>/runsc`. */
  readonly runDir: string
}

export const instanceDir = (runDir: string, id: string): string => join(runDir, 'i', id)

/** Directory that the sandbox sees as `/run/forkyard`; the node gateway listens on `api.sock` in it. */
export const socketDir = (runDir: string, id: string): string => join(instanceDir(runDir, id), 's')

export const bundleDir = (runDir: string, id: string): string => join(instanceDir(runDir, id), 'b')

/** Idempotent. The id must be known as somebody's before. */
export const makePlace = ({ cgroups, runDir }: PlaceHost, id: string): SandboxPlace => {
  mkdirSync(socketDir(runDir, id), { recursive: true })
  makeBundleDir(bundleDir(runDir, id))
  return { id, cgroup: cgroups.create(id) }
}

/** Ends whatever runs there, and removes all of it. Idempotent. @throws Error when the control group does not empty. */
export const removePlace = async ({ runDir }: PlaceHost, { id, cgroup }: SandboxPlace): Promise<void> => {
  await cgroup.destroy()
  await rm(instanceDir(runDir, id), { recursive: true, force: true })
}
