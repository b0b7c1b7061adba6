/** A secret of a function is in its function, and nowhere else on the machine. */
import { createReadStream, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { randomBytes } from 'node:crypto'
import { createFunction, invoke, lambdaClient, uniqueName } from '../../support/lambda.ts'
import { configOf, versionCheckpointsOf } from '../host.ts'
import { installation } from '../installation.ts'

const target = installation()
const client = lambdaClient(target)

const secret = `canary-${randomBytes(16).toString('hex')}`
/** What is no secret, so that a search that finds nothing at all is noticed. */
const open = `open-${randomBytes(16).toString('hex')}`
const name = uniqueName('secret')

const source = `export const handler = async (event) => ({ has: process.env.API_TOKEN === event.secret, argv: process.argv })`

const contains = async (file: string, word: string): Promise<boolean> => {
  let rest = ''
  for await (const chunk of createReadStream(file, { encoding: 'latin1', highWaterMark: 1 << 20 })) {
    const text = rest + (chunk as string)
    if (text.includes(word)) return true
    rest = text.slice(-word.length)
  }
  return false
}

const filesUnder = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

const holding = async (dir: string, word: string): Promise<string[]> => {
  const found: string[] = []
  // Files may go while they are looked at.
  for (const file of filesUnder(dir)) if (await contains(file, word).catch(() => false)) found.push(file)
  return found
}

/** Command lines and environments of every process of the machine. */
const processesHolding = (word: string): string[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && pid !== String(process.pid))
    .flatMap((pid) =>
      ['cmdline', 'environ'].flatMap((part) => {
        try {
          return readFileSync(`/proc/${pid}/${part}`, 'latin1').includes(word) ? [`${pid} ${part}`] : []
        } catch {
          return []
        }
      }),
    )

beforeAll(async () => {
  const Environment = { Variables: { API_TOKEN: secret, GREETING: open } }
  await createFunction(client, name, source, { Environment, Description: open })
  for (const start of ['boot', 'restore', 'fork', 'restore'] as const) {
    const { json, startType } = await invoke(client, name, { secret: '' }, { start })
    expect([startType, (json as { has: boolean }).has]).toEqual([start, false])
    // The event holds it as well here, and is nowhere either.
    expect((await invoke(client, name, { secret }, { start })).json).toMatchObject({ has: true })
  }
  await vi.waitFor(
    async () => {
      const report = (await versionCheckpointsOf(target)).find(({ revision }) => revision.includes(`/${name}/`))
      expect(report?.state).toBe('ready')
    },
    { timeout: 60_000, interval: 200 },
  )
})

describe('the secret of a function that was started in every way', () => {
  it('lies nowhere in the store', async () => {
    const store = join(target.stateDir, 'nats')
    expect(await holding(store, secret)).toEqual([])
    // Negative control: the description of the same function is found.
    expect(await holding(store, open)).not.toEqual([])
  })

  it('lies in no state of the node, its checkpoints included, and in no log', async () => {
    expect(await holding(target.stateDir, secret)).toEqual([])
    // Negative control: what its name does not call a secret is in the checkpoint of the version.
    const { stateDir } = configOf(target, 'node-agent')
    expect(await holding(join(stateDir, 'checkpoints'), open)).not.toEqual([])
    expect(await holding(target.runDir, secret)).toEqual([])
  })

  it('is in no command line and no environment of a process', () => {
    expect(processesHolding(secret)).toEqual([])
    // Negative control: the agent's own configuration file is in its command line.
    expect(processesHolding(join(target.stateDir, 'services', 'node-agent'))).not.toEqual([])
  })
})
