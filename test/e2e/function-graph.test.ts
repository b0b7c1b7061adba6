/** What functions use, declared in a program of a user's own, with the real engine: edges are previewed, changed in place, and kept. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isNotFound, signedFetch } from '../../services/cli/signed-fetch.ts'
import { invoke, lambdaClient } from '../support/lambda.ts'
import { preparePulumiProgram, type PulumiProgram } from '../support/pulumi-program.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const token = 'canary-token-0815'
const bindingsPath = '/forkyard/v1/functions/shop/bindings'

let program: PulumiProgram
beforeAll(async () => {
  program = await preparePulumiProgram('examples/pulumi-graph', 'graph', target)
  // Plain on purpose: that it is a credential the provider knows by itself.
  await program.pulumi('config', 'set', '--plaintext', 'paymentsToken', token)
})
afterAll(() => program.remove())

const ask = async (): Promise<unknown> => (await invoke(client, 'shop:live', { order: '17' })).json
const answer = { order: '17', for: 'shop' }
interface Told {
  readonly bindings: Readonly<Record<string, unknown>>
}
const edges = async (): Promise<string[] | undefined> => {
  try {
    const told = (await (await signedFetch(target, { path: bindingsPath })).json()) as Told
    return Object.keys(told.bindings).toSorted()
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}
const set = (key: string, value: string) => program.pulumi('config', 'set', key, value)

describe('a graph of functions', () => {
  it('is made in the order of its edges, the callee first, and works', async () => {
    await program.up()
    expect(await ask()).toEqual(answer)
    expect(await edges()).toEqual(['orders', 'payments', 'web'])
  })

  it('is not changed by another up, and keeps credentials out of the plain state', async () => {
    expect(Object.keys(await program.up())).toEqual(['unchanged'])
    expect(program.state()).toContain('payments.example.com')
    expect(program.state()).not.toContain(token)
  })

  it('is shown by a preview as edges added and removed, and not changed by it', async () => {
    await set('orders', 'false')
    await set('warehouse', 'true')
    const diff = await program.pulumi('preview', '--diff')
    expect(diff).toMatch(/~ forkyard:index:Function: \(update\)/)
    expect(diff).toMatch(/- orders\s*: \{/)
    expect(diff).toMatch(/\+ warehouse\s*: \{/)
    expect(diff).not.toMatch(/[-+~] (web|payments)\s*:/)
    expect(diff).not.toContain(token)
    expect(await ask()).toEqual(answer)
  })

  it('is changed in place', async () => {
    const arn = await program.output('arn')
    const changes = await program.up()
    expect(changes).toMatchObject({ updated: 1 })
    expect(changes).not.toHaveProperty('replaced')
    expect([await program.output('arn'), await edges()]).toEqual([arn, ['payments', 'warehouse', 'web']])
    expect(await ask()).not.toEqual(answer)
    await set('orders', 'true')
    await program.up()
    expect(await ask()).toEqual(answer)
  })
})

describe('what somebody else changed of it', () => {
  it('is found by a refresh, also a credential, and put right by the next up', async () => {
    const strange = {
      web: { type: 'internet' },
      payments: {
        type: 'http',
        url: 'https://payments.example.com/v1',
        headers: { authorization: 'another-credential' },
      },
    }
    await signedFetch(target, { method: 'PUT', path: bindingsPath, body: { bindings: strange } })
    const found = await program.pulumi('refresh', '--preview-only', '--diff')
    expect(found).toMatch(/- orders\s*: \{/)
    expect(found).not.toContain('another-credential')
    await program.pulumi('refresh', '--yes', '--skip-preview')
    const diff = await program.pulumi('preview', '--diff')
    expect(diff).toMatch(/\+ orders\s*: \{/)
    expect(diff).toMatch(/~ payments\s*: \{/)
    await program.up()
    expect(await edges()).toEqual(['orders', 'payments', 'warehouse', 'web'])
    expect(await ask()).toEqual(answer)
    await program.pulumi('refresh', '--yes', '--skip-preview')
    expect(Object.keys(await program.up())).toEqual(['unchanged'])
  })
})

it('goes with its functions', async () => {
  await program.pulumi('destroy', '--yes', '--skip-preview')
  expect(await edges()).toBeUndefined()
})
