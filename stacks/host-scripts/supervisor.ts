/** The supervisor of this machine: systemd where it is PID 1, else runit. */
import { existsSync } from 'node:fs'
import { RunitSupervisor } from './runit.ts'
import type { ServiceSpec } from './service-spec.ts'
import { SystemdSupervisor } from './systemd.ts'

export interface Supervisor {
  /** Makes the service run as the spec says; restarts it if `changed` or if the supervisor's own files differ. Idempotent. */
  ensure(spec: ServiceSpec, changed: boolean): Promise<void>
  /** Whether anything of it runs: the service, or what would start it again. */
  hasProcesses(spec: ServiceSpec): Promise<boolean>
  /** Starts what should run and does not: after a reboot, after the supervisor was killed. */
  repair(spec: ServiceSpec): Promise<void>
  /** A line for each thing that is not as `ensure` made it. */
  drift(spec: ServiceSpec): Promise<string[]>
  /** TERM, `graceMs`, KILL; then nothing of the service is left with the supervisor. Idempotent. */
  remove(spec: ServiceSpec): Promise<void>
  /** For people. */
  lastLogLines(spec: ServiceSpec, count: number): Promise<string>
}

export const chooseSupervisor = (): Supervisor =>
  existsSync('/run/systemd/system') ? new SystemdSupervisor() : new RunitSupervisor()
