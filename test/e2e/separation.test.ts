/** What one invocation wrote is seen by later ones of the same instance, and by no other instance, version or function. */
import { PublishVersionCommand, UpdateFunctionCodeCommand, waitUntilFunctionUpdatedV2 } from '@aws-sdk/client-lambda'
import { describe, expect, it, vi } from 'vitest'
import type { StartWish } from '../../services/contracts/placement.ts'
import type { UsageRecord } from '../../services/contracts/usage.ts'
import { createFunction, invoke, lambdaClient, uniqueName, zipOf, type Files } from '../support/lambda.ts'
import { storedMessages, withAgentConfig } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)

/** Leaves something wherever a handler can, and tells what was there before it. */
const node = (secret: string): Files => ({
  'index.mjs': `import fs from 'node:fs'
import os from 'node:os'
let inModule = 'none'
const held = []
export const handler = async (event) => {
  const found = {
    module: inModule,
    global: globalThis.left ?? 'none',
    environment: process.env.LEFT ?? 'none',
    prototype: Object.prototype.left ?? 'none',
    files: event.withoutFiles ? [] : fs.readdirSync('/tmp'),
    processes: fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).length,
    sockets: fs.readdirSync('/run/forkyard').filter((name) => name === 'api.sock').length,
    code: fs.readFileSync('/var/task/index.mjs', 'utf8').includes(${JSON.stringify(secret)}),
  }
  inModule = globalThis.left = process.env.LEFT = ${JSON.stringify(secret)} + event.n
  Object.defineProperty(Object.prototype, 'left', { value: inModule, configurable: true, writable: true })
  held.push(Buffer.alloc(1 << 20, inModule))
  if (!event.withoutFiles) fs.writeFileSync('/tmp/' + inModule, inModule)
  return found
}`,
})

const python = (secret: string): Files => ({
  'index.py': `import builtins, os
in_module = "none"
def handler(event, context):
    global in_module
    found = {
        "module": in_module,
        "global": getattr(builtins, "left", "none"),
        "environment": os.environ.get("LEFT", "none"),
        "files": os.listdir("/tmp"),
        "code": ${JSON.stringify(secret)} in open("/var/task/index.py").read(),
    }
    in_module = builtins.left = os.environ["LEFT"] = ${JSON.stringify(secret)} + str(event["n"])
    open("/tmp/" + in_module, "w").write(in_module)
    return found
`,
})

const untouched = { module: 'none', global: 'none', environment: 'none', files: [], code: true }
const once = { 'forkyard:reuse': 'false', 'forkyard:keep-alive-ms': '0' }

describe('what an invocation leaves behind', () => {
  it.each<['nodejs24.x' | 'python3.11', Exclude<StartWish, 'auto'>]>([
    ['nodejs24.x', 'boot'],
    ['nodejs24.x', 'restore'],
    ['nodejs24.x', 'restore-precreated'],
    ['nodejs24.x', 'restore-parked'],
    ['python3.11', 'restore'],
    ['python3.11', 'restore-parked'],
  ])('in %s is not seen by the next instance, by %s, of the same function or of another', async (runtime, start) => {
    const names = [uniqueName('one'), uniqueName('two')]
    const write = runtime === 'python3.11' ? python : node
    for (const name of names) await createFunction(client, name, write(name), { Runtime: runtime, Tags: once })
    for (let n = 0; n < 2; n++)
      for (const name of names) {
        const { json, text } = await invoke(client, name, { n }, { start })
        expect(json, text).toMatchObject({
          ...untouched,
          ...(runtime === 'python3.11' ? {} : { prototype: 'none', processes: 1 }),
        })
      }
  })

  it('is seen by later invocations of the same instance: these tests would see it', async () => {
    const name = uniqueName('kept')
    await createFunction(client, name, node(name), { Tags: { 'forkyard:concurrency': '2' } })
    await invoke(client, name, { n: 0 })
    const left = `${name}0`
    expect((await invoke(client, name, { n: 1 })).json).toMatchObject({
      module: left,
      global: left,
      environment: left,
      prototype: left,
      files: [left],
    })
  })

  it('is not seen by another version of the function', async () => {
    const name = uniqueName('versions')
    await createFunction(client, name, node('of-one'))
    const publish = async (): Promise<string> => {
      await waitUntilFunctionUpdatedV2({ client, maxWaitTime: 30 }, { FunctionName: name })
      return (await client.send(new PublishVersionCommand({ FunctionName: name }))).Version ?? ''
    }
    const first = await publish()
    await client.send(new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile: await zipOf(node('of-two')) }))
    const second = await publish()
    expect(second).not.toBe(first)
    for (const Qualifier of [first, second, '$LATEST'])
      expect((await invoke(client, name, { n: 0 }, { Qualifier })).json, Qualifier).toMatchObject(untouched)
  })

  it('in a fork’s memory is not seen by its siblings, forked before it or after', async () => {
    const name = uniqueName('siblings')
    await createFunction(client, name, node(name), { Tags: once })
    for (const start of ['fork', 'fork-parked', 'fork-parked', 'fork'] as const) {
      // Forks of a seed share its /tmp.
      const { json, startType, text } = await invoke(client, name, { n: start, withoutFiles: true }, { start })
      expect(startType, text).toBe('fork')
      expect(json).toMatchObject({ ...untouched, prototype: 'none' })
    }
  })
})

describe('a parked runtime', () => {
  it('that was given to a function is that function’s for life', async () => {
    const names = [uniqueName('first'), uniqueName('second'), uniqueName('third')]
    for (const name of names) await createFunction(client, name, node(name), { MemorySize: 128 })
    await withAgentConfig(
      target,
      (config) => ({ ...config, parkedRestores: 2 }),
      async () => {
        // Idle instances of one function, parked runtimes and requests of others: every temptation to mix them up.
        for (let round = 0; round < 4; round++)
          for (const { text, functionError } of await Promise.all(
            names.flatMap((name) => [1, 2].map((n) => invoke(client, name, { n }))),
          ))
            expect(functionError, text).toBe(undefined)
        const records = await vi.waitFor(
          async () => {
            const all = await Promise.all(
              names.map((name) => storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${name}.>`)),
            )
            expect(all.map((of) => of.length)).toEqual([8, 8, 8])
            return all.flat()
          },
          { timeout: 10_000, interval: 100 },
        )
        const owners = new Map<string, Set<string>>()
        for (const { instanceId, name } of records)
          owners.set(instanceId, (owners.get(instanceId) ?? new Set()).add(name))
        expect([...owners.values()].filter(({ size }) => size > 1)).toEqual([])
        expect(records.filter(({ startType }) => startType === 'warm').length).toBeGreaterThan(0)
      },
    )
  })
})
