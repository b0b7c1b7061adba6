/** The target `metal`, from bare Debian systems to nothing left, through every accident on the way. The tests are one story, in order. */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { repoRoot } from '../../scripts/setup/paths.ts'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import { findDrift, mendDrift } from '../../scripts/drift.ts'
import type { UpResult } from '../../scripts/stack.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { createLab, labUser, type Lab } from './lab/lab.ts'
import { expectFunctionCall } from './lab/function-call.ts'
import type { LabHost } from './lab/lab-host.ts'
import { LabStack } from './lab/lab-stack.ts'
import { underLoad } from './lab/load.ts'
import { later, nextVersion, version } from './lab/next-version.ts'
import { left, nodesOf, pidOf, traces, unit } from './lab/remote.ts'

const say = (line: string): void => void writeSync(2, `metal: ${line}\n`)

let lab: Lab
let stack: LabStack
let h1: LabHost
let h2: LabHost
let h3: LabHost
let bare: Record<string, string>

const echo =
  'export const handler = async (event) => ({ got: event.word, instance: process.env.AWS_LAMBDA_LOG_STREAM_NAME })'
const slow =
  'export const handler = async ({ ms }) => { await new Promise((done) => setTimeout(done, ms)); return { slept: ms } }'

const client = () => lambdaClient(stack.connection)
const expectAnswer = async (name: string): Promise<void> =>
  expect((await invoke(client(), name, { word: 'metal' })).json).toMatchObject({ got: 'metal' })

const kinds = ({ changes }: UpResult): string[] => Object.keys(changes)
/** Of every node and, by its rule, of every function. */
const pool = 'general'
const twoHosts = () => [
  stack.hostConfig(h1, { roles: ['gateway', 'scheduler', 'nats'] }),
  stack.hostConfig(h2, { roles: ['node'], user: labUser, pool }),
]
const threeHosts = () => [...twoHosts(), stack.hostConfig(h3, { roles: ['node'], pool, labels: { zone: 'north' } })]

beforeAll(async () => {
  await prepareMachine()
  lab = await createLab(['h1', 'h2', 'h3'], 3072)
  const [first, second, third] = lab.hosts
  if (!first || !second || !third) throw new Error('the lab is not whole')
  ;[h1, h2, h3] = [first, second, third]
  stack = new LabStack(lab, `m${lab.dir.slice(-4)}`, say)
  stack.configure({ runtimes: ['nodejs24.x'], pools: [{ name: pool }], hosts: twoHosts() })
  bare = await traces(h3)
}, 600_000)

afterAll(async () => {
  stack?.forget()
  await lab?.remove()
}, 120_000)

describe('a configuration', () => {
  it('with a private key in the clear is refused, and the key is not repeated', async () => {
    stack.configure({ sshPrivateKey: lab.privateKey })
    const problem = await stack.up().catch((error: Error) => error.message)
    expect(problem).toContain('forkyard:sshPrivateKey holds a private key in the clear')
    expect(problem).not.toContain(lab.privateKey.split('\n')[1])
    stack.configure({ sshPrivateKey: undefined })
    await stack.setPrivateKey()
  })

  it('with another host key is refused before anything is sent to the host', async () => {
    const hosts = twoHosts().map((host) => ({ ...host, hostKey: h3.hostKey }))
    stack.configure({ hosts })
    await expect(stack.up()).rejects.toThrow(
      /host h[12] .* cannot be reached: it has another host key than the configuration says/,
    )
    expect(await traces(h1)).toEqual(bare)
    stack.configure({ hosts: twoHosts() })
  })
})

describe('on two bare hosts', () => {
  // Packages, what others wait for, what waits for most.
  it.each(['h1-prepare', 'h1-nats-process', 'h2-node-agent-process'])(
    'a first update that is killed (%s) leaves what the next one goes on from',
    async (resource) => {
      await stack.upKilledAt(new RegExp(`${resource}\\s+creating`))
    },
  )

  it('up makes an installation that runs a function', async () => {
    await stack.up()
    await createFunction(client(), 'echo', echo)
    await expectAnswer('echo')
  })

  it('a second up changes nothing', async () => {
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })

  it('no secret is in the state, in a process list or in a log', async () => {
    const config = JSON.parse(await h1.ssh(`cat ${stack.stateDir}/services/gateway/config.json`)) as {
      internalToken: string
      nats: { password: string }
      accounts: { secretAccessKey: string }[]
    }
    const key = lab.privateKey.split('\n')[1] ?? ''
    const secrets = [config.internalToken, config.nats.password, config.accounts[0]?.secretAccessKey ?? '', key]
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(30)
    const state = stack.state
    for (const [place, text] of [
      ['state', state],
      ['processes', await h1.ssh('ps -eo args')],
      ['log', await h1.ssh('journalctl -o cat --no-pager')],
      ['node log', await h2.ssh('journalctl -o cat --no-pager')],
    ] as const)
      expect([place, ...secrets.filter((secret) => text.includes(secret))]).toEqual([place])
    expect(state).not.toContain('PRIVATE KEY')
    expect(state).toContain('ciphertext')
  })

  it('services have no privileges but the agent, and files of their own', async () => {
    for (const service of ['nats', 'scheduler', 'gateway']) {
      const status = await h1.ssh(`cat /proc/${await pidOf(h1, stack, service)}/status`)
      expect(status).toMatch(/^CapBnd:\s+0{16}$/m)
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
      expect(status).toMatch(/^Seccomp:\s+2$/m)
      expect(status).not.toMatch(/^Uid:\s+0\s/m)
    }
    const user = `fy-${stack.installation}`
    expect(await h1.ssh(`stat -c '%U %a' ${stack.stateDir}/services/gateway/config.json`)).toBe(`${user} 600\n`)
    await expect(
      h1.ssh(`setpriv --reuid=nobody --clear-groups cat ${stack.stateDir}/services/gateway/config.json`),
    ).rejects.toThrow()
  })

  it('ports are open to those who need them, closed to everybody else', async () => {
    const reach = async (from: LabHost, port: number): Promise<boolean> =>
      from.ssh(`timeout 2 bash -c '</dev/tcp/${h1.address}/${port}'`).then(
        () => true,
        () => false,
      )
    expect([await reach(h2, 9003), await reach(h2, 9001), await reach(h3, 9003), await reach(h3, 9000)]).toEqual([
      true,
      false,
      false,
      true,
    ])
    // The firewall, and nothing else, is what closes them.
    await h1.ssh(`systemctl stop ${unit(stack, 'firewall')}; nft delete table inet forkyard_${stack.installation}`)
    expect([await reach(h2, 9001), await reach(h3, 9003)]).toEqual([true, true])
    await h1.ssh(`systemctl start ${unit(stack, 'firewall')}`)
    expect([await reach(h2, 9001), await reach(h3, 9003)]).toEqual([false, false])
  })

  it('hops are encrypted, by certificates of the installation', async () => {
    const node = `${stack.stateDir}/bin/node`
    const subject = `const s=require('tls').connect({host:'${h1.address}',port:9001,servername:'scheduler',rejectUnauthorized:false},()=>{console.log(s.getPeerCertificate().subjectaltname,s.authorized);s.end()})`
    expect(await h1.ssh(`${node} -e "${subject}"`)).toBe(
      `DNS:gateway, DNS:nats, DNS:scheduler, IP Address:${h1.address} false\n`,
    )
    const info = await h1.ssh(`timeout 2 bash -c 'exec 3<>/dev/tcp/${h1.address}/9003; head -n1 <&3'`)
    expect(JSON.parse(info.slice('INFO '.length))).toMatchObject({ tls_required: true })
  })

  it('a function calls another, by way of the gateway on the other host', () => expectFunctionCall(stack.connection))
})

describe('a service', () => {
  it('that is killed is started again, and serves', async () => {
    const before = await pidOf(h2, stack, 'node-agent')
    await h2.ssh(`kill -KILL ${before}`)
    await vi.waitFor(async () => expect(await pidOf(h2, stack, 'node-agent')).not.toBe(before), { timeout: 30_000 })
    await vi.waitFor(() => expectAnswer('echo'), { timeout: 60_000, interval: 500 })
  })

  it('that stands still is found by the watchdog', async () => {
    const before = await pidOf(h1, stack, 'scheduler')
    await h1.ssh(`kill -STOP ${before}`)
    await vi.waitFor(
      async () => {
        expect(await pidOf(h1, stack, 'scheduler')).not.toBe(before)
        expect(await h1.ssh(`systemctl is-active ${unit(stack, 'scheduler')}`)).toBe('active\n')
      },
      { timeout: 120_000, interval: 1000 },
    )
    expect(await h1.ssh(`journalctl -o cat -u ${unit(stack, 'scheduler')}`)).toContain('Watchdog timeout')
    await vi.waitFor(() => expectAnswer('echo'), { timeout: 60_000, interval: 500 })
  })

  it('starts with its host', async () => {
    await h2.cutPower()
    await h2.start()
    await vi.waitFor(() => expectAnswer('echo'), { timeout: 90_000, interval: 500 })
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })
})

describe('what somebody changes on a host by hand', () => {
  it('is found, and made again', async () => {
    const state = await stack.exported()
    expect(await findDrift(state)).toEqual([])
    await h1.ssh(
      `echo >> ${stack.stateDir}/services/gateway/config.json; nft delete table inet forkyard_${stack.installation}`,
    )
    await h2.ssh(`systemctl stop ${unit(stack, 'node-agent')}; rm ${stack.stateDir}/bin/host-scripts.mjs`)
    // Without its scripts a host cannot be asked; with them again the rest is found.
    const first = await findDrift(state)
    expect(first.map(({ name }) => name)).toContain('h2-programs')
    await mendDrift(
      state,
      first.filter(({ name }) => name === 'h2-programs'),
    )
    const found = await findDrift(state)
    const lines = found.flatMap(({ name, differences }) => differences.map((line) => `${name}: ${line}`)).join('\n')
    expect(lines).toContain(`h1-gateway-process: ${stack.stateDir}/services/gateway/config.json is another file`)
    expect(lines).toMatch(/h1-firewall: table \S+: 0 of \d+ rules are in force/)
    expect(lines).toContain(`h2-node-agent-process: ${unit(stack, 'node-agent')} does not run`)
    expect(new Set(found.map(({ name }) => name))).toEqual(
      new Set(['h1-firewall', 'h1-gateway-process', 'h2-node-agent-process']),
    )
    expect(await mendDrift(state, found)).toEqual([])
    await vi.waitFor(() => expectAnswer('echo'), { timeout: 60_000, interval: 500 })
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })
})

describe('one more host', () => {
  it('is added without a change to any service of the others', async () => {
    const before = [
      await pidOf(h1, stack, 'gateway'),
      await pidOf(h1, stack, 'scheduler'),
      await pidOf(h2, stack, 'node-agent'),
    ]
    stack.configure({ hosts: threeHosts() })
    await stack.up()
    expect([
      await pidOf(h1, stack, 'gateway'),
      await pidOf(h1, stack, 'scheduler'),
      await pidOf(h2, stack, 'node-agent'),
    ]).toEqual(before)
    expect((await nodesOf(h1, stack)).filter(({ accepting }) => accepting).map(({ nodeId }) => nodeId)).toEqual([
      `${stack.installation}-h2`,
      `${stack.installation}-h3`,
    ])
    expect((await nodesOf(h1, stack)).map(({ pool, labels }) => [pool, labels])).toEqual([
      [pool, {}],
      [pool, { zone: 'north' }],
    ])
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })

  it('takes invocations: more at a time than one host can', async () => {
    const name = uniqueName('slow')
    await createFunction(client(), name, slow)
    const calls = Array.from({ length: 12 }, () => invoke(client(), name, { ms: 3_000 }, { start: 'restore' }))
    for (const { json } of await Promise.all(calls)) expect(json).toEqual({ slept: 3_000 })
    const busy = (await nodesOf(h1, stack)).filter(({ instances }) => instances.length > 0)
    expect(busy).toHaveLength(2)
  })
})

/** From the beginning of its last stop to the end of its last start; the hosts' clocks are one. */
const lastRestart = async (host: LabHost, service: string): Promise<{ from: number; to: number }> => {
  const text = await host.ssh(
    `systemctl show -p ActiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic ${unit(stack, service)}`,
  )
  const at = (name: string) => Number(new RegExp(`^${name}=(\\d+)$`, 'm').exec(text)?.[1])
  return { from: at('ActiveExitTimestampMonotonic'), to: at('ActiveEnterTimestampMonotonic') }
}

const checkpointsOf = async (host: LabHost): Promise<string[]> =>
  (await host.ssh(`ls ${stack.stateDir}/checkpoints`)).split('\n').filter(Boolean)

/** A client that tries again: with one gateway there is a moment without any. */
const upUnderLoad = async (): Promise<void> => {
  const { calls, failed } = await underLoad({ connection: stack.connection, name: 'echo', say }, () => stack.up())
  expect(failed).toEqual([])
  expect(calls).toBeGreaterThan(10)
  const [first, second] = [await lastRestart(h2, 'node-agent'), await lastRestart(h3, 'node-agent')]
  expect(first.to < second.from || second.to < first.from).toBe(true)
}

describe('the next version', () => {
  it('is brought up under load without a failed request: nodes one after another, new checkpoints on each, NATS as it was', async () => {
    const [nats, scheduler, before] = [
      await pidOf(h1, stack, 'nats'),
      await pidOf(h1, stack, 'scheduler'),
      await checkpointsOf(h2),
    ]
    stack.useTree((await nextVersion(join(lab.dir, 'newer'), 'nodejs24.x')).dir)
    await upUnderLoad()
    expect(stack.outputs.version).toBe(later(1))
    expect(await pidOf(h1, stack, 'nats')).toBe(nats)
    expect(await pidOf(h1, stack, 'scheduler')).not.toBe(scheduler)
    for (const host of [h2, h3])
      expect((await checkpointsOf(host)).filter((name) => !before.includes(name))).not.toEqual([])
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })

  it('is taken back by the up of the old commit, under load as well', async () => {
    stack.useTree(repoRoot)
    await upUnderLoad()
    expect(stack.outputs.version).toBe(version)
    await expectAnswer('echo')
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })
})

/** Of what a service shows on its port, as a neighbour on `h1` sees it. */
const certificateOf = async (host: LabHost, port: number): Promise<string> => {
  const show = `const s=require('tls').connect({host:'${host.address}',port:${port},rejectUnauthorized:false},()=>{console.log(s.getPeerCertificate().serialNumber);s.end()})`
  return (await h1.ssh(`${stack.stateDir}/bin/node -e "${show}"`)).trim()
}

const certificates = (): Promise<string[]> =>
  Promise.all([certificateOf(h1, 9001), certificateOf(h2, 9002), certificateOf(h3, 9002)])

describe('certificates in the last third of their life', () => {
  it('are made anew by an up, under load without a failed request', async () => {
    const before = await certificates()
    // Those of 365 days are in the last third of 1200.
    stack.configure({ certificateDays: 1200 })
    await upUnderLoad()
    const after = await certificates()
    expect(after.filter((certificate) => before.includes(certificate))).toEqual([])
    expect(new Set(after).size).toBe(3)
    await expectAnswer('echo')
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })
})

describe('a host that is down', () => {
  it('keeps no other from being changed, and catches up', async () => {
    await h3.cutPower()
    stack.configure({ logLevel: 'debug' })
    await expect(stack.up()).rejects.toThrow(/host h3 .* cannot be reached/)
    for (const [host, service] of [
      [h1, 'gateway'],
      [h2, 'node-agent'],
    ] as const)
      expect(await host.ssh(`cat ${stack.stateDir}/services/${service}/config.json`)).toContain('"logLevel":"debug"')
    await vi.waitFor(() => expectAnswer('echo'), { timeout: 30_000, interval: 500 })
    await h3.start()
    await stack.up()
    expect(await h3.ssh(`cat ${stack.stateDir}/services/node-agent/config.json`)).toContain('"logLevel":"debug"')
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })
})

describe('after an engine that was killed midway', () => {
  it.each(['h1-gateway-process', 'h2-node-agent-process'])('(%s) the next up converges', async (resource) => {
    stack.configure({ logLevel: resource.startsWith('h1') ? 'error' : 'info' })
    await stack.upKilledAt(new RegExp(`${resource}\\s+updating`))
    await stack.up()
    await expectAnswer('echo')
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })
})

describe('a host that is taken out of the configuration', () => {
  it('finishes what it does, and is as it was found', async () => {
    const name = uniqueName('slow')
    await createFunction(client(), name, slow)
    await invoke(client(), name, { ms: 1 })
    // Both nodes work while one of them goes.
    const calls = Array.from({ length: 6 }, () => invoke(client(), name, { ms: 15_000 }))
    await vi.waitFor(
      async () => {
        const busy = (await nodesOf(h1, stack)).filter(({ instances }) =>
          instances.some(({ state }) => state === 'busy'),
        )
        expect(busy).toHaveLength(2)
      },
      { timeout: 12_000 },
    )
    stack.configure({ hosts: twoHosts() })
    await stack.up()
    for (const { json } of await Promise.all(calls)) expect(json).toEqual({ slept: 15_000 })
    expect(await left(h3, stack)).toEqual([])
    expect(await traces(h3)).toEqual(bare)
    await vi.waitFor(async () => expect(await nodesOf(h1, stack)).toHaveLength(1), { timeout: 30_000 })
    expect(kinds(await stack.up())).toEqual(['unchanged'])
  })
})

describe('destroy', () => {
  it('keeps the state while a host cannot be reached', async () => {
    await h2.cutPower()
    await expect(stack.down()).rejects.toThrow(/host h2 .*FORKYARD_ABANDON_HOSTS=h2/s)
    expect(stack.state).toContain('h2-node-agent-process')
  })

  it('goes on without it when it is given up, and leaves the others as they were found', async () => {
    process.env['FORKYARD_ABANDON_HOSTS'] = 'h2'
    await stack.down().finally(() => delete process.env['FORKYARD_ABANDON_HOSTS'])
    expect(stack.exists).toBe(false)
    expect(await left(h1, stack)).toEqual([])
    expect(await traces(h1)).toEqual(bare)
  })
})
