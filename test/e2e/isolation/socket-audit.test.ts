/** What a function does with sockets, against what the audit has of it: every call, none twice, of the right tenant, function and invocation. */
import { describe, expect, it, vi } from 'vitest'
import type { NetworkPolicy } from '../../../services/contracts/network.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type Connection } from '../../support/lambda.ts'
import { auditOf, putPolicy } from '../../support/network-probe.ts'
import { installation } from '../installation.ts'
import { createTenant } from '../tenants.ts'

const target = installation()
const policy: NetworkPolicy = { rules: [] }

/** Binds, listens and accepts so many times over IPv4 and IPv6, fails now and then, and tells what it did. */
const generator = `import errno, os, socket, threading

def told(operation, family, port, number=0):
    return [operation, number, "4" if family == socket.AF_INET else "6", port]

def handler(event, _context):
    done, lock = [], threading.Lock()
    def round(family, host, port):
        server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((host, port))
        server.listen(8)
        mine = [told("bind", family, port), told("listen", family, port)]
        if event.get("fail"):
            other = socket.socket(family, socket.SOCK_STREAM)
            try:
                other.bind((host, port))
            except OSError as error:
                mine.append(told("bind", family, port, error.errno))
            other.close()
        client = socket.socket(family, socket.SOCK_STREAM)
        client.connect((host, port))
        client_port = client.getsockname()[1]
        accepted, _ = server.accept()
        mine.append(told("accept", family, client_port))
        for one in (accepted, client, server):
            one.close()
        with lock:
            done.extend(mine)
    for n in range(event["rounds"]):
        round(socket.AF_INET, "127.0.0.1", 10000 + n)
        round(socket.AF_INET6, "::1", 10000 + n)
    for n in range(event.get("binds", 0)):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 20000 + n % 10000))
        one.close()
    # What is not of the network is not told.
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = "/tmp/socket-%d" % os.getpid()
    local.bind(path)
    local.listen(1)
    local.close()
    os.unlink(path)
    return done
`

type Told = readonly [operation: string, errno: number, family: string, port: number]

const create = async (connection: Connection, prefix: string): Promise<string> => {
  const name = uniqueName(prefix)
  const code = { 'index.py': generator }
  await createFunction(lambdaClient(connection), name, code, { Runtime: 'python3.11', MemorySize: 256 })
  await putPolicy(connection, name, policy)
  return name
}

const recordsOf = async (connection: Connection, name: string, since: number) =>
  (await auditOf(connection, name, since)).flatMap((record) => (record.kind === 'socket' ? [record] : []))

const sorted = (lines: readonly string[]): string[] => lines.toSorted()
const patience = { timeout: 15_000, interval: 200 }

describe('the audit of sockets', () => {
  it.each(['boot', 'restore', 'fork'] as const)('has every call and no other, after a start by %s', async (start) => {
    const name = await create(target, 'sockets')
    const since = Date.now()
    const { json, text, requestId, startType } = await invoke(
      lambdaClient(target),
      name,
      { rounds: 20, fail: true },
      { start },
    )
    expect([startType, json], text).toEqual([start, expect.any(Array)])
    const done = (json as Told[]).map((each) => each.join(' '))
    expect(done).toHaveLength(2 * 20 * 4)
    await vi.waitFor(async () => {
      const records = await recordsOf(target, name, since)
      const told = records.map(
        ({ operation, errno, address = '', port }) => `${operation} ${errno} ${address.includes(':') ? 6 : 4} ${port}`,
      )
      expect(sorted(told)).toEqual(sorted(done))
      // A fork shares its sandbox: which invocation it was is not certain there.
      const who = new Set(records.map(({ tenant, name: of, invocationId }) => `${tenant} ${of} ${invocationId}`))
      expect([...who]).toEqual([`default ${name} ${start === 'fork' ? undefined : requestId}`])
    }, patience)
  })

  it('is of functions with a network alone', async () => {
    const [without, after] = [uniqueName('without'), await create(target, 'after')]
    await createFunction(lambdaClient(target), without, { 'index.py': generator }, { Runtime: 'python3.11' })
    const since = Date.now()
    const told = (name: string) => recordsOf(target, name, since)
    for (const name of [without, after])
      expect((await invoke(lambdaClient(target), name, { rounds: 1 })).json).toHaveLength(6)
    await vi.waitFor(async () => expect(await told(after)).toHaveLength(6), patience)
    expect(await told(without)).toEqual([])
  })

  it('loses nothing of one that makes thousands at once, and mixes tenants up never', async () => {
    const other = await createTenant(target)
    const [loud, calm] = [await create(target, 'loud'), await create(other, 'calm')]
    const since = Date.now()
    const binds = 6_000
    const [first, second] = await Promise.all([
      invoke(lambdaClient(target), loud, { rounds: 0, binds }),
      invoke(lambdaClient(other), calm, { rounds: 5 }),
    ])
    expect([first.json, (second.json as Told[]).length]).toEqual([[], 30])
    await vi.waitFor(async () => {
      expect((await recordsOf(target, loud, since)).length).toBe(binds)
      const told = await recordsOf(other, calm, since)
      expect(told.map(({ tenant, operation }) => `${tenant} ${operation}`).toSorted()).toEqual(
        ['accept', 'bind', 'listen'].flatMap((operation) =>
          Array.from({ length: 10 }, () => `${other.tenant} ${operation}`),
        ),
      )
    }, patience)
  })
})
