import { describe, expect, it } from 'vitest'
import { runScript } from './runit.ts'
import type { ServiceSpec } from './service-spec.ts'
import { isUnitOf, unitFile, unitName } from './systemd.ts'

const spec: ServiceSpec = {
  name: 'gateway',
  installation: 'local',
  stateDir: '/var/lib/forkyard/local',
  command: ['/opt/node', `/srv/it's "$HOME" 100%.mjs`],
  files: [],
  ownedPaths: [],
  ready: { tcpPort: 1 },
  readyTimeoutMs: 1000,
  graceMs: 35_500,
  privileges: 'none',
}

describe('under runit', () => {
  it('a service gets its words as they are, no environment of the caller, and dies with its runsv', () => {
    expect(runScript(spec)).toBe(`#!/bin/sh
exec 2>&1
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent setpriv --pdeathsig KILL --no-new-privs --inh-caps -all --bounding-set -all,+dac_read_search '/opt/node' '/srv/it'\\''s "$HOME" 100%.mjs'
`)
  })

  it('who comes first is nicer to itself than the others are, and can raise that no further', () => {
    expect(runScript({ ...spec, first: true })).toContain('HOME=/nonexistent nice -n -10 setpriv --pdeathsig KILL')
  })

  it('capabilities are kept only by who needs them', () => {
    expect(runScript({ ...spec, privileges: 'root' })).not.toContain('caps')
  })
})

describe('under systemd', () => {
  it('a unit restarts its service, waits for it to drain, and expands nothing in its words', () => {
    const unit = unitFile(spec)
    expect(unit).toContain(String.raw`ExecStart="/opt/node" "/srv/it's \"$$HOME\" 100%%.mjs"`)
    expect(unit).toContain('Restart=always')
    expect(unit).toContain('TimeoutStopSec=36')
    expect(unit).toContain('NoNewPrivileges=yes')
  })

  it('who comes first has more of the CPU where it is short', () => {
    expect(unitFile({ ...spec, first: true }).split('\n')).toContain('CPUWeight=1000')
    expect(unitFile(spec)).not.toContain('CPUWeight')
  })

  it('who needs root gets it', () => {
    expect(unitFile({ ...spec, privileges: 'root' })).not.toContain('NoNewPrivileges')
  })

  it('a user of its own has no capability, and writes only where it is told', () => {
    const unit = unitFile({ ...spec, user: 'fy-local', writablePaths: ['/var/a b'] })
    for (const line of ['User=fy-local', 'CapabilityBoundingSet=', 'ProtectSystem=strict', 'ReadWritePaths="/var/a b"'])
      expect(unit.split('\n')).toContain(line)
  })

  it('only who notifies is waited for and watched', () => {
    expect(unitFile(spec)).not.toMatch(/Type=|Watchdog/)
    expect(unitFile({ ...spec, notify: true })).toContain('Type=notify\nNotifyAccess=all\nWatchdogSec=30\n')
  })

  it('units of two installations differ, also when one name begins with the other', () => {
    const other = unitName({ installation: 'local-node', name: 'gateway' })
    expect(isUnitOf('local', unitName(spec))).toBe(true)
    expect(isUnitOf('local', other)).toBe(false)
    expect(isUnitOf('local', 'ssh.service')).toBe(false)
  })
})
