/** A machine that no configuration names becomes a node of an installation on `metal`, by a token, and is none again. The tests are one story, in order. */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import { repoRoot } from '../../scripts/setup/paths.ts'
import { run } from '../../scripts/setup/run.ts'
import { machine } from '../../stacks/join/machine.ts'
import { createFunction, invoke, lambdaClient } from '../support/lambda.ts'
import type { LabHost } from './lab/lab-host.ts'
import { underLoad } from './lab/load.ts'
import { LabStack } from './lab/lab-stack.ts'
import { createLab, type Lab } from './lab/lab.ts'
import { left, nodesOf, traces } from './lab/remote.ts'

const say = (line: string): void => void writeSync(2, `joining: ${line}\n`)
const edge = 'edge'

let lab: Lab
let stack: LabStack
let control: LabHost
let other: LabHost
let stranger: LabHost
let bare: Record<string, string>
let bundle: string
let nodeId: string

const client = () => lambdaClient(stack.connection)
/** As an operator does it. */
const forkyard = (...args: readonly string[]): Promise<string> =>
  run(process.execPath, [join(repoRoot, 'services/cli/main.ts'), ...args], {
    env: { ...process.env, FORKYARD_STATE_DIR: stack.stateDir },
  })
const makeToken = async (): Promise<string> => (await forkyard('node', 'token', '--pool', edge, '--ttl', '10m')).trim()
/** @param token its text, which goes over standard input */
const joinAs = (host: LabHost, name: string, token: string, bundleDir = '/opt/forkyard-node'): Promise<string> =>
  host.ssh(
    `${bundleDir}/forkyard-node join --token-file - --name ${name} --address ${host.address} --memory-mib 1024 --instances 8 2>&1 <<'EOF'\n${token}\nEOF`,
  )
const ids = async () => (await nodesOf(control, stack)).map((node) => node.nodeId)
const reach = (from: LabHost, to: LabHost, port: number): Promise<boolean> =>
  from.ssh(`timeout 2 bash -c '</dev/tcp/${to.address}/${port}'`).then(
    () => true,
    () => false,
  )

beforeAll(async () => {
  await prepareMachine()
  lab = await createLab(['control', 'other', 'stranger'], 3072)
  const [first, second, third] = lab.hosts
  if (!first || !second || !third) throw new Error('the lab is not whole')
  ;[control, other, stranger] = [first, second, third]
  stack = new LabStack(lab, `j${lab.dir.slice(-4)}`, say)
  nodeId = `${stack.installation}_edge-1`
  await stack.setPrivateKey()
  stack.configure({
    runtimes: ['nodejs24.x'],
    pools: [{ name: 'default' }, { name: edge }],
    joinFrom: [`${other.address}/32`],
    hosts: [stack.hostConfig(control, { roles: ['gateway', 'scheduler', 'nats', 'node'] })],
  })
  bundle = join(lab.dir, 'node.tar.gz')
  await run(process.execPath, [join(repoRoot, 'scripts/node-bundle.ts'), '--out', bundle], { timeoutMs: 300_000 })
  for (const host of [other, stranger])
    await run('tar', ['-xzf', bundle, '-C', join(lab.dir, host.name, 'opt')], { timeoutMs: 120_000 })
  bare = await traces(other)
  await stack.up()
}, 600_000)

afterAll(async () => {
  stack?.forget()
  await lab?.remove()
}, 120_000)

describe('a machine that joins', () => {
  it('reaches calls and NATS, from where machines may join, and nothing else', async () => {
    expect([await reach(other, control, 9005), await reach(other, control, 9003)]).toEqual([true, true])
    expect([await reach(other, control, 9001), await reach(other, control, 9002)]).toEqual([false, false])
    // Negative control: an address that is not in `joinFrom`.
    expect([await reach(stranger, control, 9005), await reach(stranger, control, 9003)]).toEqual([false, false])
  })

  it('is refused with what is no token, and nothing is left of it', async () => {
    await expect(joinAs(other, 'edge-1', 'fyjoin1.e30')).rejects.toThrow(/no token/)
    const forged = await makeToken()
    const content = JSON.parse(Buffer.from(forged.split('.')[1] ?? '', 'base64url').toString()) as object
    const foreign = { ...content, authority: '0'.repeat(64) }
    const text = `fyjoin1.${Buffer.from(JSON.stringify(foreign)).toString('base64url')}`
    await expect(joinAs(other, 'edge-1', text)).rejects.toThrow(/does not come from the authority/)
    // Whatever state it is in.
    await other.ssh(`printf '{' > ${machine.stateDir}/received.json`)
    await other.ssh('/opt/forkyard-node/forkyard-node leave')
    expect(await traces(other)).toEqual(bare)
  })

  it('is a node, of the pool that its token names', async () => {
    const token = await makeToken()
    expect(await joinAs(other, 'edge-1', token)).toContain(`${nodeId} is ready`)
    await vi.waitFor(async () => expect(await ids()).toContain(nodeId), { timeout: 30_000, interval: 500 })
    expect(JSON.parse(await forkyard('node', 'list', '--json'))).toMatchObject([{ nodeId, pool: edge }])
    // Its token is used: no other machine gets in with it, from wherever.
    await expect(joinAs(stranger, 'edge-2', token)).rejects.toThrow()
    const secret = await other.ssh('ps -eo args; journalctl -o cat --no-pager')
    expect(secret).not.toContain(token)
  })

  it('runs functions of its pool', async () => {
    const source = 'export const handler = async () => process.env.WHO'
    await createFunction(client(), 'at-the-edge', source, {
      Environment: { Variables: { WHO: 'me' } },
      Tags: { 'forkyard:pool': edge },
    })
    expect((await invoke(client(), 'at-the-edge')).json).toBe('me')
    const node = (await nodesOf(control, stack)).find((each) => each.nodeId === nodeId)
    expect(node?.instances.map(({ revision }) => revision.name)).toContain('at-the-edge')
  })

  it('is there again after a power cut', async () => {
    await other.cutPower()
    await other.start()
    await vi.waitFor(async () => expect((await invoke(client(), 'at-the-edge')).json).toBe('me'), {
      timeout: 120_000,
      interval: 2_000,
    })
  })

  it('takes what the stack says of all nodes, without being named', async () => {
    const levelOf = async (): Promise<unknown> =>
      (JSON.parse(await other.ssh(`cat ${machine.stateDir}/services/node-agent/config.json`)) as { logLevel: string })
        .logLevel
    expect(await levelOf()).toBe('info')
    stack.configure({ logLevel: 'warn' })
    await stack.up()
    // It asks at its start, and every ten minutes.
    await other.ssh('systemctl restart forkyard-joined-node-agent')
    await vi.waitFor(async () => expect(await levelOf()).toBe('warn'), { timeout: 90_000, interval: 2_000 })
    await vi.waitFor(async () => expect((await invoke(client(), 'at-the-edge')).json).toBe('me'), {
      timeout: 60_000,
      interval: 2_000,
    })
  })

  it('takes another release under load without a failed request, and stays what it is', async () => {
    // Whatever is in the way of that leaves the machine as it was.
    await expect(stranger.ssh('/opt/forkyard-node/forkyard-node upgrade 2>&1')).rejects.toThrow(/has not joined/)
    const gatewayToo = stack.hostConfig(stranger, { roles: ['gateway'] })
    const hosts = [
      stack.hostConfig(control, { roles: ['gateway', 'scheduler', 'nats', 'node'], pool: edge }),
      gatewayToo,
    ]
    expect(await reach(stranger, other, 9002)).toBe(false)
    stack.configure({ hosts })
    await stack.up()
    const before = JSON.parse(await forkyard('node', 'list', '--json')) as unknown
    const next = join(lab.dir, other.name, 'opt/next')
    await run('mkdir', [next])
    await run('tar', ['-xzf', bundle, '-C', next, '--strip-components=1'], { timeoutMs: 120_000 })
    const load = { connection: stack.connection, name: 'at-the-edge', say }
    const { result, calls, failed } = await underLoad(load, () => other.ssh('/opt/next/forkyard-node upgrade 2>&1'))
    expect(result).toContain(`${nodeId} is ready`)
    expect(result).toContain('/opt/forkyard-node is used no longer')
    expect([failed, calls > 50]).toEqual([[], true])
    expect(JSON.parse(await forkyard('node', 'list', '--json'))).toEqual(before)
    const agent = await other.ssh('readlink /proc/$(systemctl show -P MainPID forkyard-joined-node-agent)/exe')
    expect(agent).toContain('/opt/next/bin/node')
    await other.ssh('rm -r /opt/forkyard-node')
    await vi.waitFor(async () => expect(await ids()).toContain(nodeId), { timeout: 30_000, interval: 500 })
  })

  it('lets in a gateway that was not there when it joined', async () => {
    await vi.waitFor(async () => expect(await reach(stranger, other, 9002)).toBe(true), {
      timeout: 90_000,
      interval: 2_000,
    })
  })

  it('goes on where a run was cut short, without another token', async () => {
    await other.ssh(
      'systemctl stop forkyard-joined-node-agent && rm /etc/systemd/system/forkyard-joined-node-agent.service',
    )
    const said = await joinAs(other, 'edge-1', 'none', '/opt/next')
    expect(said).toContain(`has joined as ${nodeId} already`)
    expect(said).toContain(`${nodeId} is ready`)
  })

  it('is drained, removed, and leaves nothing', async () => {
    await forkyard('drain', nodeId, '--timeout', '1m')
    await forkyard('node', 'remove', nodeId)
    await vi.waitFor(async () => expect(await ids()).not.toContain(nodeId), { timeout: 10_000, interval: 200 })
    await other.ssh('/opt/next/forkyard-node leave')
    expect(await left(other, machine)).toEqual([])
    expect(await traces(other)).toEqual(bare)
  })
})

describe('the stack', () => {
  it('goes away with nobody joined', async () => {
    await stack.down()
    expect(stack.exists).toBe(false)
  })
})
