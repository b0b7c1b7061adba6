import { describe, expect, it } from 'vitest'
import { roleOf } from './processes.ts'

const dirs = { stateDir: '/var/lib/forkyard/a', runDir: '/run/forkyard/a' }
const role = (argv: string[], cwd = '/', service?: string) => roleOf({ pid: 1, argv, cwd }, dirs, service)
const node = (service: string) => [
  '/opt/bin/node',
  `${dirs.stateDir}/services/${service}/0123/main.mjs`,
  '--config',
  'x',
]

describe('a process of the installation', () => {
  it.each([
    ['supervisor', ['runsvdir', '-P', `${dirs.stateDir}/runit/nats`]],
    ['log', ['svlogd', `${dirs.stateDir}/log/nats`]],
    ['service', node('gateway')],
    ['service', ['/cache/nats-server', '--config', `${dirs.stateDir}/services/nats/nats-server.conf`]],
    ['sandbox', ['runsc-sandbox', '--root=/run/forkyard/a/runsc', 'boot']],
    ['sandbox', ['/cache/runsc', '--root', '/run/forkyard/a/runsc', 'create']],
  ] as const)('is a %s: %s', (expected, argv) => {
    expect(role([...argv])).toBe(expected)
  })

  it('is a runsv by its directory, which is not in its arguments', () => {
    expect(role(['runsv', 'nats'], `${dirs.stateDir}/runit/nats`)).toBe('supervisor')
  })
})

describe('no process of the installation', () => {
  it.each([
    ['an editor on its files', ['vim', `${dirs.stateDir}/services/gateway/config.json`]],
    ['a reader of its log', ['tail', '-f', `${dirs.stateDir}/log/nats/current`]],
    ['Node.js on something else', ['node', '/home/me/app.ts']],
    ['a supervisor of another installation', ['runsvdir', '-P', '/var/lib/forkyard/ab/runit/nats']],
    ['a sandbox of an installation whose name begins alike', ['runsc-sandbox', '--root=/run/forkyard/ab/runsc']],
    ['a process without arguments', ['']],
  ])('is %s', (_, argv) => {
    expect(role(argv)).toBeUndefined()
  })
})

describe('of one service', () => {
  it('only its own processes count', () => {
    expect(role(node('gateway'), '/', 'gateway')).toBe('service')
    expect(role(node('gateway'), '/', 'scheduler')).toBeUndefined()
    expect(role(['runsvdir', '-P', `${dirs.stateDir}/runit/node`], '/', 'node-agent')).toBeUndefined()
    expect(role(['runsvdir', '-P', `${dirs.stateDir}/runit/node-agent`], '/', 'node-agent')).toBe('supervisor')
  })

  it('sandboxes are not, they belong to the installation', () => {
    expect(role(['runsc-sandbox', '--root=/run/forkyard/a/runsc'], '/', 'node-agent')).toBeUndefined()
  })
})
